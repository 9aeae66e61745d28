"""What is learnt at each step of test-time training: blocks of the context's text, then of what the target wrote."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dftt.adaptation.held_out import is_held_out
from dftt.adaptation.losses import BlockBatch, make_block_batch, slot_weights
from dftt.adaptation.self_study import Study
from dftt.models.blocks import select_anchors
from dftt.models.draft import DFlashDraft
from dftt.types import Prefill, TTTSpec

BLOCKS_PER_TEXT = 8  # of a step: each text costs a read of its tokens, each block its slots


class Lessons:
    """The batches of all steps, each a function of the seed and its number, so that a resumed run draws the same ones.

    Args:
        draft: Its blocks are those of the batches.
        prefill: Covers the context.
        context_length: Tokens of the context.
        spec: How to adapt.
        study: What the target wrote; needed where the spec learns from it.

    Raises:
        ValueError: If the target wrote no text of two tokens.
    """

    def __init__(
        self,
        draft: DFlashDraft,
        prefill: Prefill,
        context_length: int,
        spec: TTTSpec,
        study: Study | None = None,
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
        return context_batch(
            self.draft,
            self.prefill,
            self.context_length,
            self.spec,
            step,
            input_ids=self._ids,
            validation=validation,
        )

    def _study_batch(self, study: Study, step: int, usable: Tensor) -> BlockBatch:
        """Blocks that open in the answers of some of the usable texts; slots past the end of an answer weigh 0."""
        if not len(usable):
            raise ValueError(
                f"nothing to validate on: of {len(study.texts)} texts ttt.held_out {self.spec.held_out} keeps none out "
                "of training; raise ttt.study_samples, or lower ttt.held_out"
            )
        texts, size = study.texts, self.draft.config.block_size
        generator = _generator(self.spec, step)
        count = min(len(usable), -(-self.spec.anchors // BLOCKS_PER_TEXT))
        blocks = -(-self.spec.anchors // count)
        chosen = usable[torch.randperm(len(usable), generator=generator)[:count]]
        fractions = torch.rand(count, blocks, generator=generator)
        device = texts.features.device
        chosen, fractions = chosen.to(device), fractions.to(device)
        starts, lengths = texts.starts[chosen, None], texts.lengths[chosen, None]
        anchors = starts + (fractions * (lengths - starts)).long()  # (count, blocks), within their texts
        places = anchors[..., None] + torch.arange(1, size, device=device)  # of the labels
        inside = places <= lengths[..., None]
        places = places.minimum(lengths[..., None])
        token_ids, width, prefix = texts.token_ids[chosen], texts.token_ids.shape[1], len(study.prefix)
        rows = torch.arange(count, device=device)
        at = rows[:, None, None]
        flat = lambda each: each.flatten(0, 1)[None]  # noqa: E731 - texts by blocks -> one row of blocks
        return BlockBatch(
            features=self._prefix_features,
            anchors=flat(prefix + anchors),
            anchor_ids=flat(token_ids.gather(1, anchors)),
            labels=flat(token_ids[at, places]),
            weights=flat(slot_weights(size).to(device) * inside),
            teacher=flat(texts.hidden[chosen][at, places - 1]),
            texts=texts.features[chosen].flatten(0, 1)[None],
            text_positions=(prefix + torch.arange(width, device=device)).repeat(count)[None],
            text_starts=flat((prefix + rows * width)[:, None].expand(-1, blocks)),
        )


def context_batch(
    draft: DFlashDraft,
    prefill: Prefill,
    context_length: int,
    spec: TTTSpec,
    step: int,
    *,
    input_ids: Tensor | None = None,  # (1, T)
    validation: bool = False,
) -> BlockBatch:
    """The blocks of one step. They depend on the seed and the step alone, so that a resumed run draws the same ones.

    Args:
        draft: Says how large a block is.
        prefill: Covers the context.
        context_length: Tokens of the context.
        spec: How many blocks are drawn, and from where.
        step: Number of the step.
        input_ids: The context's tokens on the device, where they are at hand.
        validation: Draw from the positions that training leaves out (spec.held_out) instead of all others.

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
    device = prefill.features.device
    input_ids = _ids_of(prefill, context_length) if input_ids is None else input_ids
    return make_block_batch(
        input_ids=input_ids,
        supervised=torch.ones_like(input_ids, dtype=torch.bool),
        anchors=anchors[None].to(device),
        features=prefill.features[None, :context_length],
        hidden=prefill.hidden[None, :context_length],
        block_size=draft.config.block_size,
    )


def _ids_of(prefill: Prefill, context_length: int) -> Tensor:  # (1, T)
    return torch.tensor([prefill.input_ids[:context_length]], device=prefill.features.device)


def _generator(spec: TTTSpec, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(spec.seed * 1_000_003 + step)
