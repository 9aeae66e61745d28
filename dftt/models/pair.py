"""A target and a draft that fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dftt.models import bundled
from dftt.models.chat import Messages
from dftt.models.checkpoint import load_draft
from dftt.models.draft import DFlashDraft, DraftConfig, default_tap_ids
from dftt.models.target import Target, encode, resolve_dtype
from dftt.types import Prefill, Prompt
from dftt.types.inputs import reading

BUNDLED = bundled.PREFIX + bundled.TARGET


@dataclass(frozen=True)
class Pair:
    """A frozen target with its draft; `load_pair` makes one and has checked that they fit.

    Several threads may use one pair: they take turns at its draft, and each pass keeps its own hidden states.
    """

    target: Target
    draft: DFlashDraft

    def encode(self, text: str | Messages, *, context_length: int = -1) -> Prompt:
        """Prompt of chat messages (the target's template applied, generation prompt added) or of a string, verbatim.

        In messages, control tokens of the template are text; in a string, they are what they are.

        Raises:
            ValueError: If there is no text, or a message does not reach the prompt as it is.
        """
        return Prompt(tuple(encode(self.target.tokenizer, text)), context_length)

    def prefill(
        self, prompt: Prompt, *, prefix: Prefill | None = None, features_on: torch.device | None = None
    ) -> Prefill:
        """One target pass over the prompt; the options are those of `Target.prefill`."""
        return self.target.prefill(
            prompt.input_ids, tap_ids=self.draft.config.tap_ids, prefix=prefix, features_on=features_on
        )

    def check_prefill(self, prefill: Prefill) -> None:
        """Raise ValueError where a prefill cannot be of this pair, since its tensors have other shapes."""
        width = len(self.draft.config.tap_ids) * self.target.hidden_size
        got = [tuple(tensor.shape) for tensor in (prefill.features, prefill.hidden)]
        wanted = [(len(prefill), width), (len(prefill), self.target.hidden_size)]
        if got != wanted:
            raise ValueError(
                f"the prefill's features and hidden states have shapes {got}, this pair's of {len(prefill)} tokens "
                f"have {wanted}: make it with pair.prefill"
            )


@torch.inference_mode(False)  # weights made in inference mode could never be adapted
def load_pair(
    target: str | Path = BUNDLED,
    draft: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
) -> Pair:
    """A target and its draft, by hub id or local folder; the bundled pair where nothing is named.

    Raises:
        ValueError: If either cannot be loaded, or they do not fit; one sentence that says how.
    """
    resolved = resolve_dtype(dtype)
    _check_precision(resolved)
    loaded_draft = read_draft(draft, target=str(target), dtype=resolved)
    loaded_target = Target.load(target, device=device, dtype=resolved)
    check_fit(loaded_target, loaded_draft.config)
    check_own_vocabulary(loaded_target, loaded_draft)
    return Pair(loaded_target, loaded_draft.to(device))


def read_draft(draft: str | Path | None, *, target: str, dtype: torch.dtype | None = torch.float32) -> DFlashDraft:
    """The draft of a folder or hub id, or the bundled one for the bundled target; ValueError where it is none."""
    folder = find_draft(draft, target=target)
    with reading(f"draft {folder} could not be loaded", fix="give the folder or hub id of a DFlash draft"):
        return load_draft(folder, dtype=dtype)


def find_draft(draft: str | Path | None, *, target: str) -> Path:
    """Local folder of a draft: the bundled one for the bundled target, a folder as it is, a hub id from the hub cache.

    ValueError if no draft is named for a target of the user's own, or the hub has none under that name.
    """
    if draft is None:
        if target != BUNDLED:
            raise ValueError(f"no draft given for {target}: name a folder or a hub id of a DFlash draft made for it")
        return bundled.draft_folder()
    if Path(draft).exists():
        return Path(draft)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(draft)))  # all files: one that is not known refuses the draft
    except Exception as error:  # the hub client raises many unrelated classes, all meaning "not to be had"
        reason = str(error).splitlines()[0]
        raise ValueError(f"draft {draft!r} is neither a folder here nor to be had from the hub ({reason})") from error


def make_draft(
    target: Target, layers: int, block_size: int, taps: int | Sequence[int], mask_token_id: int
) -> DFlashDraft:
    """A draft with random weights, shaped like the target's own layers, to be trained over a corpus.

    ValueError if the mask token is not given, outside the embedding, or an end-of-sequence or padding token.
    """
    config = target.config
    forbidden = {*target.eos_token_ids, getattr(config, "pad_token_id", None)}
    if not 0 <= mask_token_id < target.vocab_size or mask_token_id in forbidden:
        raise ValueError(
            f"model.new_mask_token_id must be a reserved token below {target.vocab_size}, "
            f"neither padding nor end-of-sequence, got {mask_token_id}"
        )
    draft = DFlashDraft(
        DraftConfig(
            hidden_size=config.hidden_size,
            num_layers=layers,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            vocab_size=target.vocab_size,
            num_target_layers=target.num_layers,
            tap_ids=default_tap_ids(target.num_layers, taps) if isinstance(taps, int) else tuple(taps),
            block_size=block_size,
            mask_token_id=mask_token_id,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters=dict(config.rope_parameters),
            max_position_embeddings=config.max_position_embeddings,
        )
    )
    draft.reset_parameters()
    return draft


def check_fit(target: Target, draft: DraftConfig) -> None:
    """Raise ValueError, in one sentence, for the first thing in which the draft does not fit the target."""
    _check_precision(target.dtype)
    for said, wanted, has in (
        ("has hidden size {}", draft.hidden_size, target.hidden_size),
        ("was made for a vocabulary of {}", draft.vocab_size, target.vocab_size),
        ("was made for a target of {} layers", draft.num_target_layers, target.num_layers),
    ):
        if wanted not in (None, has):
            raise ValueError(f"draft {said.format(wanted)}, the target {target.name} has {has}")
    for tap in draft.tap_ids:
        # The last hidden state is the one after the final norm, which no draft was trained on.
        if not 0 <= tap < target.num_layers:
            raise ValueError(
                f"draft taps hidden state {tap} (layer id {tap - 1}), but {target.name} has "
                f"{target.num_layers} layers: taps must be below {target.num_layers}"
            )
    if not 0 <= draft.mask_token_id < target.vocab_size:
        raise ValueError(
            f"draft's mask token {draft.mask_token_id} lies outside the embedding of {target.name} "
            f"({target.vocab_size} rows)"
        )


def check_own_vocabulary(target: Target, draft: DFlashDraft) -> None:
    """Compare an embedding and a head that came with the draft to the target's, which are used, and let them go.

    ValueError if one differs from the target's by more than the rounding of its own precision.
    """
    theirs = {
        "embed_tokens.weight": target.model.get_input_embeddings().weight,
        "lm_head.weight": target.model.get_output_embeddings().weight,
    }
    for name, own in draft.own_vocabulary.items():
        own, weight = own.to(target.device), theirs[name]
        same = own.shape == weight.shape and (
            torch.equal(own.to(weight.dtype), weight) or torch.equal(own, weight.to(own.dtype))
        )
        if not same:
            raise ValueError(
                f"draft brings an own {name} {tuple(own.shape)} that differs from the one of {target.name} "
                f"{tuple(weight.shape)}, which is not supported; give a draft that uses the target's"
            )
    draft.own_vocabulary = {}


def _check_precision(dtype: torch.dtype) -> None:
    if dtype == torch.float16:
        raise ValueError(
            "dtype float16: a draft's first layer, fc, sums hidden states that are too large for it, and proposes "
            "nothing that is accepted; use bfloat16 or float32"
        )
