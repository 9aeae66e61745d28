import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dftt.adaptation import losses
from dftt.adaptation.losses import (
    BlockBatch,
    BlockLoss,
    block_loss,
    make_block_batch,
    run_blocks,
    slot_weights,
)
from dftt.models.pair import Pair
from dftt.types import LossName
from tests.fakes import random_prompt

LENGTH = 18


def make_batch(pair: Pair, *, anchors: tuple[int, ...] = (2, 9, 16), supervised: Tensor | None = None) -> BlockBatch:
    prompt = random_prompt(LENGTH)
    prefill = pair.prefill(prompt)
    input_ids = torch.tensor([prompt.input_ids])
    return make_block_batch(
        input_ids=input_ids,
        supervised=torch.ones_like(input_ids, dtype=torch.bool) if supervised is None else supervised,
        anchors=torch.tensor([anchors]),
        features=prefill.features[None],
        hidden=prefill.hidden[None],
        block_size=4,
    )


def plain_loss(pair: Pair, batch: BlockBatch, loss: LossName) -> Tensor:
    """The loss written out, one slot at a time, by autograd alone."""
    hidden = run_blocks(
        pair.draft, pair.target, features=batch.features, anchors=batch.anchors, anchor_ids=batch.anchor_ids
    )
    total, weight_sum = torch.zeros((), dtype=hidden.dtype), 0.0
    for block in range(batch.anchors.shape[1]):
        for slot in range(3):
            draft = pair.target.head(hidden[0, block, slot + 1]).log_softmax(-1)
            teacher = pair.target.head(batch.teacher[0, block, slot]).log_softmax(-1)
            ce = -draft[batch.labels[0, block, slot]]
            kl = (teacher.exp() * (teacher - draft)).sum()
            value = {"ce": ce, "kl": kl, "mixed": (ce + kl) / 2}[loss]
            weight = float(batch.weights[0, block, slot])
            total, weight_sum = total + weight * value, weight_sum + weight
    return total / weight_sum


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Pair:
    """A pair in float64 of this test's own, all of whose draft weights take gradients."""
    shared = tiny_pair("qwen3", dtype="float64")
    draft = copy.deepcopy(shared.draft).requires_grad_(True)
    draft.rotary.requires_grad_(False)
    return Pair(shared.target, draft)


@pytest.mark.parametrize("loss", ["ce", "kl", "mixed"])
@pytest.mark.parametrize("chunk", [1, 4, 2048])
def test_loss_and_gradients_equal_the_loss_written_out(monkeypatch, pair: Pair, loss: LossName, chunk: int) -> None:
    monkeypatch.setattr(losses, "CHUNK", chunk)
    batch = make_batch(pair)
    parameters = [parameter for parameter in pair.draft.parameters() if parameter.requires_grad]
    expected = plain_loss(pair, batch, loss)
    wanted = torch.autograd.grad(expected, parameters)
    got = block_loss(pair.draft, pair.target, batch, loss=loss).loss
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    for ours, theirs in zip(torch.autograd.grad(got, parameters), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)


def test_gradient_scales_with_what_is_done_to_the_loss(pair: Pair) -> None:
    batch, weight = make_batch(pair), pair.draft.fc.weight
    (plain,) = torch.autograd.grad(block_loss(pair.draft, pair.target, batch, loss="kl").loss, weight)
    (scaled,) = torch.autograd.grad(3 * block_loss(pair.draft, pair.target, batch, loss="kl").loss, weight)
    torch.testing.assert_close(scaled, 3 * plain)


def test_no_gradient_reaches_the_target(pair: Pair) -> None:
    block_loss(pair.draft, pair.target, make_batch(pair), loss="mixed").loss.backward()
    assert all(parameter.grad is None for parameter in pair.target.model.parameters())


def test_loss_without_gradients_is_the_same(pair: Pair) -> None:
    batch = make_batch(pair)
    with torch.no_grad():
        without = block_loss(pair.draft, pair.target, batch, loss="kl").loss
    torch.testing.assert_close(without, block_loss(pair.draft, pair.target, batch, loss="kl").loss.detach())


def test_kl_of_the_target_to_itself_is_zero(monkeypatch, pair: Pair) -> None:
    batch = make_batch(pair)
    as_teacher = torch.cat([batch.teacher[:, :, :1], batch.teacher], dim=2).requires_grad_(True)
    monkeypatch.setattr(losses, "run_blocks", lambda *_, **__: as_teacher)
    result = block_loss(pair.draft, pair.target, batch, loss="kl")
    assert float(result.loss.detach()) == pytest.approx(0, abs=1e-9)
    assert result.correct.all()


def test_labels_are_the_tokens_after_the_anchor(pair: Pair) -> None:
    batch, ids = make_batch(pair), random_prompt(LENGTH).input_ids
    assert batch.anchor_ids.tolist() == [[ids[2], ids[9], ids[16]]]
    assert batch.labels[0, :2].tolist() == [list(ids[3:6]), list(ids[10:13])]


def test_teacher_is_the_hidden_state_just_before_each_label(pair: Pair) -> None:
    hidden = pair.prefill(random_prompt(LENGTH)).hidden
    assert torch.equal(make_batch(pair).teacher[0, 1], hidden[9:12])


def test_slots_past_the_end_weigh_nothing(pair: Pair) -> None:
    weights = make_batch(pair, anchors=(2, 15, 16)).weights[0]
    assert torch.equal(weights > 0, torch.tensor([[True] * 3, [True, True, False], [True, False, False]]))


def test_unsupervised_labels_weigh_nothing(pair: Pair) -> None:
    supervised = torch.ones(1, LENGTH, dtype=torch.bool)
    supervised[0, 10] = False
    weights = make_batch(pair, anchors=(8, 9), supervised=supervised).weights[0]
    assert torch.equal(weights > 0, torch.tensor([[True, False, True], [False, True, True]]))


@pytest.mark.parametrize("loss", ["ce", "kl", "mixed"])
def test_a_label_of_weight_zero_does_not_matter(pair: Pair, loss: LossName) -> None:
    supervised = torch.ones(1, LENGTH, dtype=torch.bool)
    supervised[0, 10] = False
    batch = make_batch(pair, anchors=(9,), supervised=supervised)
    labels, teacher = batch.labels.clone(), batch.teacher.clone()
    labels[0, 0, 0] += 1
    teacher[0, 0, 0] += 1
    changed = replace(batch, labels=labels, teacher=teacher)
    first, second = (block_loss(pair.draft, pair.target, each, loss=loss).loss for each in (batch, changed))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("block_size", "gamma"), [(16, 7), (10, 5), (8, 4), (32, 7)])
def test_weights_decay_with_the_published_gamma(block_size: int, gamma: float) -> None:
    expected = [math.exp(-(slot - 1) / gamma) for slot in range(1, block_size)]
    assert slot_weights(block_size).tolist() == pytest.approx(expected)


@pytest.fixture
def hand_made() -> BlockLoss:
    """Correct prefixes of 2, 0 and 1 of 3; the last slot of the third block is past the end."""
    correct = torch.tensor([[[1, 1, 0], [0, 1, 1], [1, 0, 1]]]).bool()
    counted = torch.tensor([[[1, 1, 1], [1, 1, 1], [1, 1, 0]]]).bool()
    return BlockLoss(torch.tensor(0.0), correct, counted)


def test_estimated_tau_counts_correct_prefixes_and_the_bonus(hand_made: BlockLoss) -> None:
    assert float(hand_made.estimated_tau) == pytest.approx(1 + (2 + 0 + 1) / 3)


def test_slot_accuracy_counts_labels_only(hand_made: BlockLoss) -> None:
    assert hand_made.slot_accuracy.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])


def test_correct_compares_with_the_target_not_with_the_text(pair: Pair) -> None:
    batch = make_batch(pair)
    hidden = run_blocks(
        pair.draft, pair.target, features=batch.features, anchors=batch.anchors, anchor_ids=batch.anchor_ids
    )
    drafted, wanted = (
        pair.target.head(hidden[:, :, 1:]).argmax(-1),
        pair.target.head(batch.teacher).argmax(-1),
    )
    assert torch.equal(block_loss(pair.draft, pair.target, batch, loss="ce").correct, drafted == wanted)
