"""What CONTRIBUTING promises: a rule, a source, a loss or a drafter is a function and a line."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_type_hints

import pytest
import torch
from torch import Tensor

import dftt.types
from dftt.adaptation.lessons import context_batch
from dftt.adaptation.losses import block_loss
from dftt.adaptation.slot_loss import LOSSES
from dftt.decoding.drafter import Drafter, Draw
from dftt.decoding.drafters import PROPOSING
from dftt.decoding.forced import forced_logits
from dftt.decoding.generate import generate
from dftt.decoding.guidance.sources import SOURCES, Plain
from dftt.models.cache import Placement
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, GuidanceSpec, TTTSpec, checks
from dftt.types.guidance import RULES
from tests.fakes import random_prompt

PROMPT = random_prompt(12)


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Pair:
    return tiny_pair("qwen3", dtype="float64")


def test_a_new_rule_of_guidance_is_a_source_and_a_line(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "doubled", lambda _: Plain(lambda step: 2 * step.target))
    monkeypatch.setitem(RULES, "sharpen", ("doubled", "target", 0.0))
    forced = forced_logits(pair, PROMPT, [1, 2, 3], [GuidanceSpec("sharpen", alpha=0.5)])
    torch.testing.assert_close(forced.guided[0], 1.5 * forced.target)


def test_a_new_loss_is_a_function_and_a_line(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(log_draft: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = LOSSES["kl"](log_draft, teacher, labels)
        return value / 2, gradient / 2

    losses: dict[Any, Any] = LOSSES
    monkeypatch.setitem(losses, "halved", halved)
    batch = context_batch(pair.draft, pair.prefill(PROMPT), len(PROMPT), TTTSpec(anchors=4), 0)
    loss = partial(block_loss, pair.draft, pair.target, batch)
    new = loss(loss="halved")  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(new.loss, loss(loss="kl").loss / 2)


def test_a_new_drafter_is_a_class_and_a_line(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    class Echo(Drafter):
        """Proposes the anchor again and again."""

        asked = 0

        def propose(self, anchor_ids: Tensor, placement: Placement, draw: Draw) -> Tensor:
            type(self).asked += 1
            return anchor_ids[:, None].expand(-1, placement.positions.shape[1] - 1)

    def echo(_pair: Pair, _spec: DecodingSpec, _texts: Sequence[Sequence[int]]) -> Drafter:
        return Echo()

    monkeypatch.setitem(PROPOSING, "echo", (echo,))
    monkeypatch.setattr(dftt.types, "DrafterName", Literal["draft", "lookup", "hybrid", "echo"])
    monkeypatch.setattr(checks, "_declared", get_type_hints)  # what is declared is read once otherwise
    spec = DecodingSpec("speculative", 20, ignore_eos=True, drafter="echo")  # pyright: ignore[reportArgumentType]
    answer = generate(pair, PROMPT, spec)
    assert answer.token_ids == generate(pair, PROMPT, DecodingSpec("target", 20, ignore_eos=True)).token_ids
    assert Echo.asked == len(answer.acceptance_lengths)
