"""What is learnt at each step of test-time training: blocks of the context's text, then of what the target wrote."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dftt.adaptation.losses import BlockBatch, make_block_batch
from dftt.adaptation.self_study import Study
from dftt.models.blocks import select_anchors
from dftt.models.draft import DFlashDraft
from dftt.types import Prefill, TTTSpec

BLOCKS_PER_TEXT = 8  # of a step: each text costs a read of its tokens, each block its slots


class Lessons:
    """The batches of all steps, each a function of the seed and its number, so that a resumed run draws the same ones.

    The prefill covers the context; the study is needed where the spec learns from it.

    Raises:
        ValueError: If the target wrote no text of two tokens.
    """

    def __init__(
        self, draft: DFlashDraft, prefill: Prefill, context_length: int, spec: TTTSpec, study: Study | None = None
    ) -> None:
        self.draft, self.prefill, self.context_length, self.spec = draft, prefill, context_length, spec
        self._ids = _ids_of(prefill, context_length)
        self._study = study
        if study is not None:
            texts = study.texts
            usable = (texts.lengths > texts.starts).nonzero()[:, 0].cpu()
            if not len(usable):
                raise ValueError("self-study: the target wrote nothing about the context; raise ttt.study_samples")
            # As of a context's positions, one of each so many texts is never learnt from, where there are as many.
            places = torch.arange(len(usable))
            kept = places % spec.held_out == spec.held_out - 1 if spec.held_out else torch.zeros_like(places).bool()
            self._learnt, self._held_out = usable[~kept], usable[kept]
            self._prefix_features = study.prefix.features.to(texts.features.device)[None]

    def __iter__(self) -> Iterator[BlockBatch]:
        return map(self.batch, range(self.spec.steps))

    def batch(self, step: int, *, validation: bool = False) -> BlockBatch:
        """The blocks of a step, or of one that asks where none was learnt (spec.held_out).

        Raises:
            ValueError: If nothing was held out to ask there.
        """
        of_context = 0 if validation else self.spec.steps_of("context")
        if self._study is not None and step >= of_context:
            return self._study_batch(self._study, step, self._held_out if validation else self._learnt)
        context = self.draft, self.prefill, self.context_length
        return context_batch(*context, self.spec, step, input_ids=self._ids, validation=validation)

    def _study_batch(self, study: Study, step: int, usable: Tensor) -> BlockBatch:
        """Blocks that open in the answers of some of the usable texts; slots past the end of an answer weigh 0."""
        if not len(usable):
            raise ValueError(
                f"nothing to validate on: of {len(study.texts)} texts ttt.held_out {self.spec.held_out} keeps none out "
                "of training; raise ttt.study_samples, or lower ttt.held_out"
            )
        texts, generator = study.texts, _generator(self.spec, step)
        count = min(len(usable), -(-self.spec.anchors // BLOCKS_PER_TEXT))
        blocks = -(-self.spec.anchors // count)
        chosen = usable[torch.randperm(len(usable), generator=generator)[:count]]
        fractions = torch.rand(count, blocks, generator=generator)
        device, width, prefix = texts.features.device, texts.token_ids.shape[1], len(study.prefix)
        chosen, fractions = chosen.to(device), fractions.to(device)
        starts, lengths = texts.starts[chosen, None], texts.lengths[chosen, None]
        own = make_block_batch(  # a row for each text
            input_ids=texts.token_ids[chosen],
            supervised=torch.arange(width, device=device) <= lengths,
            anchors=starts + (fractions * (lengths - starts)).long(),
            features=texts.features[chosen],
            hidden=texts.hidden[chosen],
            block_size=self.draft.config.block_size,
        )
        flat = lambda each: each.flatten(0, 1)[None]  # noqa: E731 - texts by blocks -> one row of blocks
        return BlockBatch(
            features=self._prefix_features,
            anchors=flat(prefix + own.anchors),
            anchor_ids=flat(own.anchor_ids),
            labels=flat(own.labels),
            weights=flat(own.weights),
            teacher=flat(own.teacher),
            texts=flat(own.features),
            text_positions=(prefix + torch.arange(width, device=device)).repeat(count)[None],
            text_starts=(prefix + torch.arange(count, device=device) * width).repeat_interleave(blocks)[None],
        )


def context_batch(
    draft: DFlashDraft,
    prefill: Prefill,
    context_length: int,
    spec: TTTSpec,
    step: int,
    *,
    input_ids: Tensor | None = None,  # (1, T), the context's tokens on the device, where they are at hand
    validation: bool = False,
) -> BlockBatch:
    """Blocks of a context that a step learns from, or for validation those that training leaves out (spec.held_out).

    Raises:
        ValueError: If there is no position to draw from.
    """
    held_out = is_held_out(context_length, spec.held_out)
    if validation and not held_out.any():
        raise ValueError(
            f"nothing to validate on: of a context of {context_length} tokens ttt.held_out {spec.held_out} keeps no "
            "position out of training; give a number from 2 to the context's tokens - 2"
        )
    anchors = select_anchors(
        context_length=context_length,
        num_anchors=spec.anchors,
        window=spec.window,
        allowed=held_out if validation else ~held_out,
        generator=_generator(spec, step),
    )
    input_ids = _ids_of(prefill, context_length) if input_ids is None else input_ids
    return make_block_batch(
        input_ids=input_ids,
        supervised=torch.ones_like(input_ids, dtype=torch.bool),
        anchors=anchors[None].to(input_ids.device),
        features=prefill.features[None, :context_length],
        hidden=prefill.hidden[None, :context_length],
        block_size=draft.config.block_size,
    )


def is_held_out(context_length: int, one_in: int) -> Tensor:  # (T,), bool
    """One place of each `one_in` consecutive ones that can be anchors, never two neighbours; none where one_in is 0.

    They depend on nothing but the length: whatever seed, window or number of anchors an adapter was made with, it has
    opened no block at any of them. Their tokens are still labels of the blocks before them.
    """
    held_out = torch.zeros(context_length, dtype=torch.bool)
    groups = max(0, context_length - 2) // one_in if one_in else 0
    places = torch.randint(one_in - 1, (groups,), generator=torch.Generator().manual_seed(0)) if groups else 0
    held_out[1 + one_in * torch.arange(groups) + places] = True
    return held_out


def _ids_of(prefill: Prefill, context_length: int) -> Tensor:  # (1, T)
    return torch.tensor([prefill.input_ids[:context_length]], device=prefill.features.device)


def _generator(spec: TTTSpec, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(spec.seed * 1_000_003 + step)
