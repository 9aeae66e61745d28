"""Where the logits of a rule of guidance come from: one class or function each, and its line in SOURCES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dftt.decoding.drafter import DFlashDrafter, Drafter
from dftt.decoding.guidance.rules import jensen_shannon
from dftt.decoding.sampling import normal_noise
from dftt.models.cache import Placement, RowCache, place
from dftt.models.lora import Adapter, sharing_copy
from dftt.models.target import PREFILL_CHUNK, Target, check_window
from dftt.types import Prompt
from dftt.types.guidance import layers_of


@dataclass(frozen=True)
class Materials:
    """What some rules of guidance need besides the pair, given to `generate`; each rule takes what it names.

    Args:
        adapters: Adapters by the name of their source: "other", "generic".
        without_context: The question alone, one prompt per row; its last token is that of the row's own prompt.
        amateur: A smaller model with the target's vocabulary.
    """

    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    without_context: Sequence[Prompt] = ()
    amateur: Target | None = None


@dataclass(frozen=True)
class Request:
    """A source by name, and all that one may be made of."""

    name: str  # as in `GuidanceSpec`
    inclusive: bool  # whether its draft sees the features at the anchor
    target: Target
    drafter: Drafter | None  # the engine's own, which the engine begins and extends
    prompts: Sequence[Sequence[int]]  # token ids, one sequence per row
    materials: Materials

    @property
    def argument(self) -> str:
        """What the name says after the colon."""
        return self.name.partition(":")[2]

    def check_layers(self, layers: Sequence[int], *, first: int) -> None:
        """Raise ValueError where the target has no such layer below its last, counted from `first`."""
        for layer in layers:
            if not first <= layer < self.target.num_layers:
                raise ValueError(
                    f"guidance source {self.name!r} names layer {layer}; {self.target.name!r} has "
                    f"{self.target.num_layers}: choose from {first} to {self.target.num_layers - 1}"
                )


@dataclass(frozen=True)
class Step:
    """The verified positions of one cycle; device tensors alone, so that a cycle can be captured."""

    target: Tensor  # (R, Q, V), the target's logits for the token after each position, float32 or better
    block: Tensor  # (R, Q), tokens at these positions
    at: Placement  # where they stand
    early: Mapping[int, Tensor]  # (R, Q, D) each, the tapped layers that sources asked for, by hidden-state index
    keys: Tensor  # (R,), int64, sample keys


class Source:
    """Gives logits for the token after each verified position; a subclass overrides `logits`, and what it keeps."""

    taps: tuple[int, ...] = ()  # hidden-state indices of the target that it reads in `Step.early`

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Get ready for rows of up to `capacity` positions; `features` as a drafter's `begin` takes them."""

    def extend(self, features: Tensor, at: Placement) -> None:
        """Take the features (R, Q, L*D) that the target has just computed."""

    def copy_rows(self, rows: Sequence[int], other: Any) -> None:
        """Take over all rows of a source of the same kind into these, in storage that stays where it is."""

    def logits(self, step: Step) -> Tensor:
        """Logits (R, Q, V) for the token after each position of the step."""
        raise NotImplementedError


class Plain(Source):
    """A source that is nothing but a function of the step."""

    def __init__(self, logits: Callable[[Step], Tensor], taps: Sequence[int] = ()) -> None:
        self._logits, self.taps = logits, tuple(taps)

    def logits(self, step: Step) -> Tensor:
        """What the function says."""
        return self._logits(step)


def early_exit(request: Request) -> Source:
    """The target's logits after one of its layers (counted from 1), read through its last norm and head."""
    (layer,) = layers_of(request.name)
    request.check_layers((layer,), first=1)
    return Plain(lambda step: request.target.exit_head(step.early[layer]), (layer,))


def dola(request: Request) -> Source:
    """Of some early layers, position by position, the one whose distribution is furthest from the target's (DoLa).

    arXiv 2309.03883, section 2.2: the candidate with the largest Jensen-Shannon divergence. Early states meet the head
    without the last norm, as in the authors' code.
    """
    target = request.target
    layers = layers_of(request.name) or dola_layers(
        target.num_layers,
        half=request.argument or "low",
        tied=bool(getattr(target.config, "tie_word_embeddings", False)),
    )
    request.check_layers(layers, first=0)

    def logits(step: Step) -> Tensor:
        candidates = torch.stack([target.head(step.early[layer]) for layer in layers])
        return furthest(step.target, candidates.to(step.target.dtype))

    return Plain(logits, layers)


def dola_layers(num_layers: int, *, half: str, tied: bool) -> tuple[int, ...]:
    """Candidates of DoLa: every other layer of the lower or upper half, of at most 20 layers.

    The embedding output (0) is a candidate unless the head is tied to it: it would then repeat the input token.
    """
    size = min(num_layers // 2, 20)
    first, last = (2 if tied else 0, size) if half == "low" else (num_layers - size, num_layers)
    return tuple(range(first, last, 2)) or (last - 1,)


def furthest(target: Tensor, candidates: Tensor) -> Tensor:  # (..., V), (L, ..., V) -> (..., V)
    """At each position the candidate with the largest Jensen-Shannon divergence from the target."""
    chosen = torch.stack([jensen_shannon(target, each) for each in candidates]).argmax(0)
    index = chosen[None, ..., None].expand(1, *target.shape)
    return candidates.gather(0, index)[0]


class DraftLogits(Source):
    """Slot 1 of the engine's own draft."""

    def __init__(self, request: Request) -> None:
        if not isinstance(request.drafter, DFlashDrafter):
            raise ValueError("guided decoding needs the draft itself, not a scripted drafter")
        self.drafter, self.inclusive = request.drafter, request.inclusive

    def logits(self, step: Step) -> Tensor:
        """Logits of slot 1 of a block anchored at each position."""
        return self.drafter.first_slot_logits(step.block, step.at, inclusive=self.inclusive)


class OtherDraft(DraftLogits):
    """Slot 1 of the draft under the adapter that the source names, or under none ("base"), which reads beside it."""

    def __init__(self, request: Request) -> None:
        adapter = request.materials.adapters.get(request.name)
        if adapter is None and request.name != "base":
            raise ValueError(
                f"guidance by source {request.name!r} needs an adapter of that name: pass "
                f"materials=Materials(adapters={{{request.name!r}: adapter}})"
            )
        super().__init__(request)
        under = None if request.name == "base" else adapter
        self.drafter = self.drafter.beside(sharing_copy(self.drafter.draft, under))

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Read the known features under the drafter's own adapter."""
        self.drafter.begin(features, capacity=capacity)

    def extend(self, features: Tensor, at: Placement) -> None:
        """Read the new features."""
        self.drafter.extend(features, at)

    def copy_rows(self, rows: Sequence[int], other: OtherDraft) -> None:
        """Take over what another one's drafter has read."""
        self.drafter.copy_rows(rows, other.drafter)


class NoiseLogits(DraftLogits):
    """The target plus Gaussian noise as large as the draft's difference from it: the control for what is in it.

    noise:spread measures what is left of the difference without its mean over the vocabulary, which softmax ignores;
    noise:norm the difference as it is: louder noise wherever that mean is large (the control of earlier studies).
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.measure = request.argument

    def logits(self, step: Step) -> Tensor:
        """Target plus noise, which belongs to the position of the token to come."""
        difference = super().logits(step).to(step.target.dtype) - step.target
        noise = normal_noise(step.keys, step.at.positions + 1, difference.shape[-1]).to(difference.dtype)
        return step.target + scaled_like(noise, difference, self.measure)


def scaled_like(noise: Tensor, difference: Tensor, measure: str) -> Tensor:  # (..., V), (..., V) -> (..., V)
    """The noise, scaled at each position to the difference's norm; for spread both are first freed of their mean."""
    if measure == "spread":
        noise, difference = (each - each.mean(-1, keepdim=True) for each in (noise, difference))
    return noise * (difference.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True))


class SecondReader(Source):
    """Logits of a model behind its own prompts, followed by the tokens that are being verified.

    Args:
        model: What reads, with keys and values of its own.
        prompts: The target's prompts, one per row.
        own: What it reads instead, one per row. Each ends with the last token of the row's prompt, which is the first
            one that is verified.

    Raises:
        ValueError: If a row's two prompts end differently.
    """

    def __init__(self, model: Target, prompts: Sequence[Sequence[int]], own: Sequence[Sequence[int]]) -> None:
        for prompt, other in zip(prompts, own, strict=True):
            if other[-1] != prompt[-1]:
                raise ValueError(
                    f"the prompt without context ends in token {other[-1]}, the prompt in {prompt[-1]}: both must end "
                    "alike (encode both with the chat template, or leave out the context at the beginning only)"
                )
        self.model, self.own = model, own
        # How far a token stands to the left of where it stands in the target's row.
        shifts = [len(prompt) - len(other) for prompt, other in zip(prompts, own, strict=True)]
        self._least = min(shifts)
        self._one_shift = len(set(shifts)) == 1
        self._shifts = torch.tensor(shifts, device=model.device)[:, None]
        self._cache = RowCache(0, rows=0, capacity=0)

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:  # noqa: ARG002 - a source's signature
        """Read the prompts, all rows at once, right-padded."""
        longest = max(map(len, self.own))
        tokens = torch.zeros(len(self.own), longest, dtype=torch.long, device=self.model.device)
        for row, ids in enumerate(self.own):
            tokens[row, : len(ids)] = torch.tensor(ids, device=tokens.device)
        self._cache = RowCache(self.model.num_layers, rows=len(self.own), capacity=capacity - self._least)
        for start in range(0, longest, PREFILL_CHUNK):
            chunk = tokens[:, start : start + PREFILL_CHUNK]
            at = place([start] * len(self.own), chunk.shape[1], device=tokens.device)
            self.model.forward(chunk, at, self._cache, tap_ids=())

    def copy_rows(self, rows: Sequence[int], other: SecondReader) -> None:
        """Take over what another reader has read.

        Raises:
            ValueError: If one of its prompts is closer in length to the target's than any that this one began with:
                there may be no room for its row.
        """
        if other._least < self._least:
            raise ValueError(
                f"a prompt is {other._least} tokens shorter without context, and the rows were made for at least "
                f"{self._least}: begin with the row whose prompts differ least"
            )
        self._one_shift = self._one_shift and other._one_shift and other._least == self._least
        self._shifts[rows] = other._shifts
        self._cache.copy_rows(rows, other._cache)

    def logits(self, step: Step) -> Tensor:
        """Logits after each position, the verified tokens standing behind its own prompts."""
        start = step.at.start - self._least if self._one_shift and step.at.start is not None else None
        at = Placement(step.at.positions - self._shifts, step.at.used - self._least, start)
        hidden, _ = self.model.forward(step.block, at, self._cache, tap_ids=())
        return self.model.head(hidden)


def without_context(request: Request) -> Source:
    """The target, which has read the question alone."""
    questions = [prompt.input_ids for prompt in request.materials.without_context]
    if len(questions) != len(request.prompts):
        raise ValueError(
            f"guidance by source 'without_context' needs {len(request.prompts)} prompts without context, got "
            f"{len(questions)}: pass materials=Materials(without_context=[prompt, ...]), one per row"
        )
    return SecondReader(request.target, request.prompts, questions)


def amateur(request: Request) -> Source:
    """Another model, which has read the same prompt."""
    model, target = request.materials.amateur, request.target
    if model is None:
        raise ValueError("guidance by source 'amateur' needs a model: pass materials=Materials(amateur=Target.load(…))")
    if model.vocab_size != target.vocab_size:
        raise ValueError(
            f"amateur {model.name!r} has a vocabulary of {model.vocab_size}, the target {target.name!r} of "
            f"{target.vocab_size}: contrast needs the same one"
        )
    check_window(model.window, max(map(len, request.prompts)), name=f"prompt for the amateur {model.name!r}")
    return SecondReader(model, request.prompts, request.prompts)


# By the name in `GuidanceSpec`, without what follows a colon.
SOURCES: dict[str, Callable[[Request], Source]] = {
    "target": lambda _: Plain(lambda step: step.target),  # the very tensor, which `guide` knows again
    "uniform": lambda _: Plain(lambda step: torch.zeros_like(step.target)),
    "draft": DraftLogits,
    "base": OtherDraft,
    "other": OtherDraft,
    "generic": OtherDraft,
    "without_context": without_context,
    "amateur": amateur,
    "early_exit": early_exit,
    "dola": dola,
    "noise": NoiseLogits,
}
