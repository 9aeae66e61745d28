"""Which steps are allowed, when they end, and which weights are left."""

import math

import pytest
import torch

from dftt.adaptation.watch import Watch


def followed(losses: list[float], *, patience: int = 0, norm: float = 1.0) -> tuple[Watch, torch.Tensor]:
    """A watch after steps with these losses, each of which adds 1 to the weight, which begins at 0."""
    weight = torch.zeros(1)
    watch = Watch([weight], patience)
    for loss in losses:
        if watch.allows(loss, norm):
            weight += 1
    return watch, weight


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_loss_leaves_the_weights_of_the_last_good_one(bad: float) -> None:
    watch, weight = followed([3.0, 2.0, bad, 1.0])
    assert watch.stopped == "non-finite loss or gradient at step 2: kept the weights before it"
    assert weight == 1  # those that gave the loss 2.0


def test_a_bad_gradient_stops_as_a_bad_loss_does() -> None:
    watch, weight = followed([3.0], norm=math.nan)
    assert "at step 0" in watch.stopped
    assert weight == 0


def test_patience_counts_steps_since_the_best_smoothed_loss() -> None:
    watch, weight = followed([5.0, 1.0, 9.0, 9.0, 9.0, 9.0], patience=3)
    assert watch.stopped == "no better loss for 3 steps"
    assert weight == 5  # best after step 1, so the steps 2, 3 and 4 are the last ones


def test_an_infinite_update_is_taken_back_after_patience() -> None:
    watch, weight = followed([1.0, 9.0, 9.0], patience=2)
    assert watch.stopped == "no better loss for 2 steps"
    weight.fill_(math.nan)
    watch.check_update()
    assert weight == 2
    assert watch.stopped == "the last update was not finite: kept the weights before it"


def test_a_finite_update_is_left_alone() -> None:
    watch, weight = followed([1.0, 2.0])
    watch.check_update()
    assert (weight, watch.stopped) == (2, "")


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_watch_goes_on_from_its_state(cut: int) -> None:
    losses = [5.0, 4.0, 6.0, 7.0, 8.0, 9.0]
    whole, expected = followed(losses, patience=3)
    first, weight = followed(losses[:cut], patience=3)
    second = Watch([weight], 3)
    second.load_state_dict(first.state_dict())
    for loss in losses[cut:]:
        if second.allows(loss, 1.0):
            weight += 1
    assert weight == expected
    assert second.state_dict() == whole.state_dict()
