"""The sources that some rules need, each made once, read once per cycle, and mixed by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dftt.decoding.drafter import Drafter
from dftt.decoding.guidance.rules import guide
from dftt.decoding.guidance.sources import SOURCES, DraftLogits, Materials, Request, Source, Step
from dftt.models.cache import Placement
from dftt.models.target import Target
from dftt.types import GuidanceSpec

Key = tuple[str, bool]  # name of a source, and whether its draft sees the anchor's features


class SourceSet:
    """All sources of some rules, and the tapped layers that they read; what they are made of says `Request`.

    Raises:
        ValueError: If a rule needs something that is not among the materials, or that does not fit.
    """

    def __init__(
        self,
        specs: Sequence[GuidanceSpec],
        target: Target,
        drafter: Drafter | None,
        prompts: Sequence[Sequence[int]],
        materials: Materials | None = None,
    ) -> None:
        wanted = dict.fromkeys(key for spec in specs if spec.alpha != 0 for key in _keys(spec))
        self._sources: dict[Key, Source] = {
            (name, inclusive): SOURCES[_kind(name)](
                Request(name, inclusive, target, drafter, prompts, materials or Materials())
            )
            for name, inclusive in wanted
        }
        self.taps = tuple(sorted({tap for source in self._sources.values() for tap in source.taps}))

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Get all sources ready; see `Drafter.begin`."""
        for source in self._sources.values():
            source.begin(features, capacity=capacity)

    def extend(self, features: Tensor, placement: Placement) -> None:
        """Hand on the features that the target has just computed."""
        for source in self._sources.values():
            source.extend(features, placement)

    def copy_rows(self, rows: Sequence[int], other: SourceSet) -> None:
        """Take over all rows of another set, made for the same rules, into these; see `Source.copy_rows`."""
        for key, source in self._sources.items():
            source.copy_rows(rows, other._sources[key])

    def read(
        self, logits: Tensor, block: Tensor, at: Placement, early: Tensor, keys: Tensor
    ) -> tuple[Tensor, dict[Key, Tensor]]:
        """The target's logits in float32 or better, and those of every source, (R, Q, V) each.

        `early` holds the hidden states of `taps`, concatenated, (R, Q, len(taps) * D); the rest is as in `Step`.
        """
        target = logits.to(torch.promote_types(logits.dtype, torch.float32))
        tapped = early.chunk(len(self.taps), dim=-1) if self.taps else ()
        step = Step(target, block, at, dict(zip(self.taps, tapped, strict=True)), keys)
        return target, {key: source.logits(step) for key, source in self._sources.items()}


def apply_rule(spec: GuidanceSpec, target: Tensor, values: Mapping[Key, Tensor], alpha: Tensor | None = None) -> Tensor:
    """The guided logits of a rule from what `SourceSet.read` returned; `alpha` as `guide` takes it."""
    if spec.alpha == 0:
        return target
    numerator, reference = (values[key] for key in _keys(spec))
    return guide(spec, target, numerator, reference, alpha)


def _keys(spec: GuidanceSpec) -> tuple[Key, Key]:
    """Numerator and reference; whether the anchor is seen says something of the draft's sources only."""
    inclusive = spec.draft_context == "inclusive"
    numerator, reference = ((name, inclusive and _reads_draft(name)) for name in (spec.numerator, spec.reference))
    return numerator, reference


def _reads_draft(name: str) -> bool:
    made = SOURCES[_kind(name)]
    return isinstance(made, type) and issubclass(made, DraftLogits)


def _kind(name: str) -> str:
    return name.partition(":")[0]
