"""The frozen target: any Hugging Face causal language model, read through taps that keep only wanted hidden states."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from dftt.models import bundled
from dftt.models.acceleration import kernels_run
from dftt.models.agreement import settle_attention
from dftt.models.attention import GROUPED_ATTENTION
from dftt.models.cache import Placement, RowCache, place
from dftt.models.chat import Messages, chat_ids
from dftt.models.draft import FULL, SLIDING
from dftt.models.families import (
    PROVEN,
    band_of,
    fix_frequencies_,
    head_width,
    refuse_unsupported,
    takes_attention,
    window_of,
)
from dftt.models.fused import fuse_norms_
from dftt.models.gguf import unpacked
from dftt.models.packed import pack_
from dftt.models.spans import causal_spans, dense_of_spans, forked_spans
from dftt.types import Prefill
from dftt.types.checks import whole_characters
from dftt.types.inputs import reading

PREFILL_CHUNK = 2048


class Target:
    """A frozen causal language model of transformers in evaluation mode, with its tokenizer, as the user named it."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        config = model.config.get_text_config()
        refuse_unsupported(config, name)
        self.model = model.eval().requires_grad_(False)
        fuse_norms_(self.model)
        fix_frequencies_(self.model)
        self.tokenizer, self.name, self.config = tokenizer, name, config
        self.hidden_size: int = config.hidden_size
        self.num_layers: int = config.num_hidden_layers
        self.window: int = window_of(config)
        self._head_dim: int = head_width(config)
        self.layer_types: tuple[str, ...] = tuple(getattr(config, "layer_types", None) or ())
        self._decoder: nn.Module = model.get_decoder()
        self._layers = _decoder_layers(self._decoder, self.num_layers, name)
        self._embeddings: Any = model.get_input_embeddings()
        self._head: nn.Module = model.get_output_embeddings()
        if self._embeddings.weight.shape[-1] != self.hidden_size:
            raise ValueError(
                f"target {name!r} embeds tokens in width {self._embeddings.weight.shape[-1]}, its layers are "
                f"{self.hidden_size} wide: this is not supported, since a draft takes embeddings as wide as the layers"
            )
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "float32",
    ) -> Target:
        """The target of a hub id, a local folder, a .gguf file or `bundled:smollm2-135m`, frozen, on `device`.

        Raises:
            ValueError: If the dtype is unknown, the bundled package is missing, nothing can be loaded by that name, or
                decoding cannot follow the model: families that are not known by name (`families.PROVEN`) are tried
                against the model's own attention.
        """
        dtype, path = resolve_dtype(dtype), _path_of(name)
        with _named_errors(name):
            config = AutoConfig.from_pretrained(path)
        refuse_unsupported(config.get_text_config(), str(name))
        with _named_errors(name):
            attention = GROUPED_ATTENTION if takes_attention(config) else None
            model = AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=dtype, attn_implementation=attention
            )
            tokenizer = AutoTokenizer.from_pretrained(path)
        model = cast(nn.Module, model).to(device)  # transformers' own .to() is untyped
        if torch.device(device).type == "cpu":
            pack_(model)
        target = cls(model, tokenizer, str(name))
        if config.model_type not in PROVEN:
            settle_attention(target)
        return target

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def is_grouped(self) -> bool:
        """Whether its attention is ours (`dftt.models.attention`)."""
        return self.config._attn_implementation == GROUPED_ATTENTION

    @property
    def reads_spans(self) -> bool:
        """Whether its attention is our kernel, which reads shared positions where they are stored."""
        return self.is_grouped and kernels_run(self.device, self._head_dim)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding, which may exceed the tokenizer's length."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """All end-of-sequence tokens that the generation config or the config names."""
        for config in (self.model.generation_config, self.config):
            ids = getattr(config, "eos_token_id", None)
            if ids is not None:
                return (int(ids),) if isinstance(ids, int) else tuple(int(token) for token in ids)
        return ()

    def embed(self, token_ids: Tensor) -> Tensor:
        """Input embeddings of `token_ids` (R, T) as (R, T, D)."""
        return self._embeddings(token_ids)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of final hidden states (..., D) as (..., V), the soft-cap applied where the model has one."""
        logits = self._head(hidden)
        return logits if self._softcap is None else torch.tanh(logits / self._softcap) * self._softcap

    def exit_head(self, hidden: Tensor) -> Tensor:
        """Logits of an intermediate layer's states (..., D) as (..., V): the last norm, then the head (logit lens).

        ValueError if the decoder has no last norm under a name that is known here.
        """
        for name in ("norm", "final_layernorm", "final_layer_norm", "ln_f"):
            norm = getattr(self._decoder, name, None)
            if norm is not None:
                return self.head(norm(hidden))
        raise ValueError(f"target {self.name!r}: its last norm was not found, so no layer can be an early exit")

    def forward(
        self, token_ids: Tensor, placement: Placement, cache: RowCache, *, tap_ids: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Hidden states after the last norm (R, Q, D), and those of `tap_ids` in this order as features (R, Q, L*D).

        One pass reads `token_ids` (R, Q) where they are placed, and writes them to the cache.
        """
        cache.placement = placement
        with self._taps(tap_ids) as taps:
            out = self._decoder(
                input_ids=token_ids,
                attention_mask=self._masks(placement, cache.shared),
                # Proposals may run past the window's end, where they are never committed, and positions end there.
                position_ids=placement.times.clamp(max=self.window - 1),
                past_key_values=cache,
                use_cache=True,
            )
        tapped = [taps[tap] for tap in tap_ids]
        features = torch.cat(tapped, dim=-1) if tapped else out.last_hidden_state[..., :0]
        return out.last_hidden_state, features

    @torch.no_grad()
    def read(self, token_ids: Tensor, *, tap_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Hidden states (R, T, D) and features (R, T, L*D) of whole texts, nothing cached; padding may follow."""
        with self._taps(tap_ids) as taps:
            out = self._decoder(input_ids=token_ids, use_cache=False)
        return out.last_hidden_state, torch.cat([taps[tap] for tap in tap_ids], dim=-1)

    @torch.no_grad()
    def prefill(
        self,
        input_ids: Sequence[int],
        *,
        tap_ids: Sequence[int],
        prefix: Prefill | None = None,
        chunk: int = PREFILL_CHUNK,
        features_on: torch.device | None = None,
    ) -> Prefill:
        """Read a prompt in chunks, keeping what adaptation and decoding need.

        Args:
            input_ids: The prompt.
            tap_ids: Hidden-state indices to keep.
            prefix: An earlier prefill of the first tokens, taken over instead of read again.
            chunk: Tokens per pass.
            features_on: Where the features are kept, as in host memory for a long prompt; by default on the device.

        Raises:
            ValueError: If the prompt is longer than the model's window, or `prefix` is not a proper prefix of it.
        """
        ids = tuple(int(token) for token in input_ids)
        check_window(self.window, len(ids))
        check_tokens(self.vocab_size, ids)
        begun = time.perf_counter()
        done = 0 if prefix is None else len(prefix)
        if prefix is not None and (ids[:done] != prefix.input_ids or done == len(ids)):
            raise ValueError(f"prefix of {done} tokens is not a proper prefix of the prompt of {len(ids)} tokens")
        cache = RowCache(self.num_layers, rows=1, capacity=len(ids))
        tokens, kept_on = torch.tensor([ids], device=self.device), features_on or self.device
        hidden, features = [], []
        if prefix is not None:
            cache.fill_row(0, prefix.keys, prefix.values)
            hidden, features = [prefix.hidden], [prefix.features.to(kept_on)]
        for start in range(done, len(ids), chunk):
            stop = min(start + chunk, len(ids))
            placement = place([start], stop - start, device=self.device)
            states, tapped = self.forward(tokens[:, start:stop], placement, cache, tap_ids=tap_ids)
            hidden.append(states[0])
            features.append(tapped[0].to(kept_on))
        keys, values = cache.read_row(0)
        return Prefill(ids, torch.cat(features), torch.cat(hidden), keys, values, seconds=time.perf_counter() - begun)

    def _masks(self, placement: Placement, shared: int) -> Any:
        """Causal mask per row, (R, 1, Q, used), or its spans; a mapping by layer type for targets that mix them.

        Always explicit: a 4D mask passes through transformers untouched, where None would make it build one of its own.
        """
        band = band_of(self.config)
        if SLIDING not in self.layer_types:
            return self._mask(placement, shared, band)
        return {FULL: self._mask(placement, shared, None), SLIDING: self._mask(placement, shared, band)}

    def _mask(self, placement: Placement, shared: int, band: int | None) -> Tensor:
        if placement.fork:
            spans = forked_spans(placement.positions, placement.fork, band, shared=shared)
        else:
            spans = causal_spans(placement.positions, band, shared=shared)
        if self.reads_spans:
            return spans
        mask = dense_of_spans(spans, placement.used)
        if self.config._attn_implementation != "eager":
            return mask
        # Eager attention adds the mask to the scores, where a boolean hides nothing.
        return torch.zeros_like(mask, dtype=self.dtype).masked_fill(~mask, torch.finfo(self.dtype).min)

    @contextmanager
    def _taps(self, tap_ids: Sequence[int]) -> Iterator[dict[int, Tensor]]:
        """Catch the wanted hidden states as they pass, of this thread alone; the rest is never kept."""
        taps: dict[int, Tensor] = {}
        own_thread = threading.get_ident()

        def catch(tap: int) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                if threading.get_ident() == own_thread:
                    taps[tap] = output[0] if isinstance(output, tuple) else output

            return hook

        # hidden_states[0] is the embedding output, hidden_states[i] the output of layer i counted from 1.
        sources = {tap: self._embeddings if tap == 0 else self._layers[tap - 1] for tap in tap_ids}
        handles = [module.register_forward_hook(catch(tap)) for tap, module in sources.items()]
        try:
            yield taps
        finally:
            for handle in handles:
                handle.remove()


def load_tokenizer(name: str | Path) -> tuple[Any, int]:
    """Tokenizer and window of a target, without its weights; ValueError as `Target.load`."""
    with _named_errors(name):
        path = _path_of(name)
        return AutoTokenizer.from_pretrained(path), window_of(AutoConfig.from_pretrained(path).get_text_config())


def encode(tokenizer: Any, text: str | Messages, *, thinking: bool = False) -> list[int]:
    """Token ids of chat messages with the template applied, or of a string verbatim (no special tokens added).

    In messages, control tokens are text (`dftt.models.chat`); in a string, they are what they are. `thinking` lets a
    template that has a thinking mode use it; off by default, as the published drafts were trained.

    Raises:
        ValueError: If the text is empty, the tokenizer has no chat template for messages, or they do not go into it.
    """
    if isinstance(text, str):
        if not text.strip():
            raise ValueError("prompt is empty: give some text")
        return list(tokenizer(whole_characters("prompt", text), add_special_tokens=False).input_ids)
    if not any(str(message.get("content", "")).strip() for message in text):
        raise ValueError("prompt is empty: no message has content")
    if not tokenizer.chat_template:
        raise ValueError("the target's tokenizer has no chat template; give a plain string instead of messages")
    return chat_ids(tokenizer, text, thinking=thinking)


def check_tokens(vocab_size: int, token_ids: Sequence[int], *, name: str = "prompt") -> None:
    """Raise ValueError where a token is none of the vocabulary: on a card, reading it would end the process."""
    if token_ids and max(token_ids) >= vocab_size:
        raise ValueError(f"{name}: token {max(token_ids)} is not in the target's vocabulary of {vocab_size}")


def check_window(window: int, prompt_tokens: int, new_tokens: int = 0, *, name: str = "prompt") -> None:
    """Raise ValueError, with the ways out, where a prompt and its answer do not fit a target's window."""
    if prompt_tokens + new_tokens > window:
        raise ValueError(
            f"{name} is too long: {prompt_tokens} tokens and {new_tokens} new ones do not fit the target's window of "
            f"{window}; shorten the context or use a target with a longer window (or keep it, unscored, with "
            "--model.allow_long true)"
        )


def _named_errors(name: str | Path) -> AbstractContextManager[None]:
    """transformers' loading errors as one sentence that names the target."""
    return reading(
        f"target {str(name)!r} could not be loaded",
        fix=f"give a hub id, a folder with config.json and weights, or {bundled.PREFIX}{bundled.TARGET}",
    )


def _path_of(name: str | Path) -> str:
    if str(name).startswith(bundled.PREFIX):
        return bundled.target_folder(str(name))
    return str(unpacked(Path(name))) if str(name).lower().endswith(".gguf") else str(name)


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The torch dtype of a name such as "bfloat16"; ValueError for anything that is not a floating dtype."""
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(resolved, torch.dtype) or not resolved.is_floating_point:
        raise ValueError(f"dtype: unknown {dtype!r}; choose from float32, bfloat16, float16, float64")
    return resolved


def _decoder_layers(decoder: nn.Module, num_layers: int, name: str) -> nn.ModuleList:
    for module in decoder.children():
        if isinstance(module, nn.ModuleList) and len(module) == num_layers:
            return module
    raise ValueError(
        f"target {name!r}: no list of {num_layers} layers found in {type(decoder).__name__}, so this architecture is "
        "not supported; use a decoder of attention layers"
    )
