"""A trial at load: whether our masks, cache and attention give what a model gives by itself.

Both read the same short random text, with all windows shortened so that the text is longer. Ours reads it as decoding
does: two rows, a first pass whose last tokens are wrong in one row, and a second pass that begins at another place in
each row and overwrites them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dftt.models.attention import GROUPED_ATTENTION, UnknownArgumentError
from dftt.models.cache import RowCache, place
from dftt.models.families import takes_attention

if TYPE_CHECKING:
    from dftt.models.target import Target

LENGTH = 64  # tokens of the text
REACH = 16  # tokens that windows are shortened to
_REACHES = frozenset({"sliding_window", "attention_chunk_size", "floor_scale"})  # settings that the trial can shorten
_REACHING = ("window", "chunk", "index_")  # parts of the names of settings that say how far a layer looks
_NO_REACHES = frozenset({"max_window_layers", "use_sliding_window", "chunk_size_feed_forward"})
# Of the relative difference. Models compute parts in float32 whatever they are loaded in, and half precision rounds.
_BOUNDS = {torch.float64: 1e-3, torch.float32: 1e-3}
_HALF_BOUND = 0.3
_FEATURES = {
    "alibi": "position biases (ALiBi)",
    "sliding_window": "sliding-window attention",
    "attn_logit_softcapping": "soft-capped attention",
}


def settle_attention(target: Target) -> None:
    """Give a target our attention where that agrees with the model's own, else its eager one; ValueError if neither."""
    _refuse_unknown_reach(target)
    reason = ""
    # Attention that cannot be replaced stays as it was loaded.
    for implementation in (GROUPED_ATTENTION, "eager") if target.is_grouped else (target.config._attn_implementation,):
        _attend_by(target, implementation)
        try:
            difference, bound = difference_of(target), _BOUNDS.get(target.dtype, _HALF_BOUND)
        except UnknownArgumentError as error:
            reason = str(error)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # modelling code raises anything on masks or positions that it does not expect
            reason = f"fails with {type(error).__name__}: {' '.join(str(error).split())}"
        else:
            if difference <= bound:
                return
            reason = f"differs by {difference:.2g} of a logit's size, more than {bound:g}"
    features = [words for setting, words in _FEATURES.items() if getattr(target.config, setting, None)]
    raise ValueError(
        f"target {target.name!r} ({target.config.model_type}{', with ' + ', '.join(features) if features else ''}) is "
        f"not supported: decoding with it would not give the model's own tokens (tried on random tokens, it {reason})"
    )


@torch.no_grad()
def difference_of(target: Target) -> float:
    """How far our logits are from the model's own on random tokens, relative to their size.

    In float32 and float64 the largest of all tokens; in half precision, where one rounding may send a token to other
    experts, the largest of the parts' medians. The parts are what each pass reads of each row.
    """
    length = min(LENGTH, target.window)
    # From the middle of the vocabulary: special tokens, which some models treat otherwise, stand at its ends.
    low, high = target.vocab_size // 4, target.vocab_size // 4 * 3
    # On the CPU whatever the default device is: Lightning builds a model with that of its card.
    drawn = torch.randint(low, high, (2, 2, length), generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    text, wrong = drawn.to(target.device)
    with _short_reach(target):
        own = _by_itself(target, text)
        parts = [_relative(logits, own[row, at]) for row, at, logits in _as_decoded(target, text, wrong)]
        parts.append(_relative(target.head(target.read(text, tap_ids=(0,))[0]), own).flatten())
    of_a_part = torch.max if target.dtype in _BOUNDS else torch.median
    worst = torch.stack([of_a_part(part) for part in parts]).max()
    return float(worst) if worst.isfinite() else float("inf")


def _by_itself(target: Target, text: Tensor) -> Tensor:  # (R, T) -> (R, T, V)
    """Logits of the model under the attention that transformers chooses for it, without a cache."""
    ours = target.config._attn_implementation
    _attend_by(target, target.model.get_correct_attn_implementation(None))
    try:
        return target.model(input_ids=text, use_cache=False).logits
    finally:
        _attend_by(target, ours)


def _attend_by(target: Target, implementation: str) -> None:
    if implementation != target.config._attn_implementation and takes_attention(target.model.config):
        target.model.set_attn_implementation(implementation)


def _as_decoded(target: Target, text: Tensor, wrong: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
    """Row, positions and logits of what two passes over a cache read, as decoding makes them."""
    rows, length = text.shape
    taps = (0, 1, target.num_layers - 1)
    again, new = length // 8, length // 5  # read twice in row 0; read by the second pass
    end = length - new
    starts = [end - again, end]
    first = text[:, :end].clone()
    first[0, starts[0] :] = wrong[0, starts[0] : end]  # a rejected proposal, which the second pass overwrites
    cache = RowCache(target.num_layers, rows=rows, capacity=length)
    for begins, tokens in (
        ([0, 0], first),
        (starts, torch.stack([text[row, start : start + new] for row, start in enumerate(starts)])),
    ):
        at = place(begins, tokens.shape[1], device=text.device)
        hidden, features = target.forward(tokens, at, cache, tap_ids=taps)
        if features.shape != (*tokens.shape, len(taps) * target.hidden_size):
            raise ValueError(f"its layers give {tuple(features.shape)}, not one hidden state per token")
        for row, begin in enumerate(begins):
            stop = starts[row] if begin == 0 else begin + new
            yield row, slice(begin, stop), target.head(hidden[row, : stop - begin])


def _relative(logits: Tensor, expected: Tensor) -> Tensor:  # (..., V) -> (...)
    """Distance of each token's logits, relative to their spread over the vocabulary."""
    wanted = expected.double()
    spread = (wanted - wanted.mean(-1, keepdim=True)).norm(dim=-1)
    return (logits.double() - wanted).norm(dim=-1) / spread.clamp_min(1e-9)


def _refuse_unknown_reach(target: Target) -> None:
    for setting, value in target.config.to_dict().items():
        reaches = any(part in setting for part in _REACHING) and setting not in _REACHES | _NO_REACHES
        if reaches and type(value) is int and value > REACH:
            raise ValueError(
                f"target {target.name!r} ({target.config.model_type}) says {setting}={value} in its config, which is "
                "not known here: it may hide tokens from its attention, so this architecture is not supported"
            )


@contextmanager
def _short_reach(target: Target) -> Iterator[None]:
    """Inside the block, whatever says how far a layer looks says at most REACH, in configs and modules."""
    holders: dict[int, Any] = {id(target.config): target.config}
    for module in target.model.modules():
        for holder in (module, getattr(module, "config", None)):
            if holder is not None:
                holders[id(holder)] = holder
    before = [
        (holder, setting, vars(holder)[setting])
        for holder in holders.values()
        for setting in _REACHES & vars(holder).keys()
        if type(vars(holder)[setting]) is int
    ]
    for holder, setting, value in before:
        setattr(holder, setting, min(value, REACH))
    try:
        yield
    finally:
        for holder, setting, value in before:
            setattr(holder, setting, value)
