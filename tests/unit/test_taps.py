"""Leaving out tapped layers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from dftt.adaptation.ttt import ttt_adapt
from dftt.models.draft import tap_places, tapped
from dftt.models.fingerprint import fingerprint
from dftt.models.lora import applied, sharing_copy
from dftt.models.pair import Pair
from dftt.types import TTTSpec
from tests.fakes import random_prompt


@pytest.mark.parametrize(
    ("taps", "num_taps", "places"),
    [("all", 3, (0, 1, 2)), ("shallow", 5, (0, 1)), ("deep", 5, (3, 4)), ("deep", 4, (2, 3)), (2, 3, (2,))],
)
def test_places(taps: str | int, num_taps: int, places: tuple[int, ...]) -> None:
    assert tap_places(taps, num_taps) == places


@pytest.mark.parametrize(("taps", "num_taps"), [(3, 3), ("shallow", 1)])
def test_taps_that_are_not_there(taps: str | int, num_taps: int) -> None:
    with pytest.raises(ValueError, match="leaves no layer: the draft reads"):
        tap_places(taps, num_taps)


def test_other_layers_read_as_zero_inside_and_are_back_outside(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair()
    features = pair.prefill(random_prompt(8)).features[None]
    positions = torch.arange(8)[None]
    changed = features.clone()
    changed[..., :64] += 1.0  # the first two of three taps
    before = pair.draft.read_context(features, positions)[0][0]
    with tapped(pair.draft, "deep"):
        kept, other = (pair.draft.read_context(each, positions)[0][0] for each in (features, changed))
    assert torch.equal(kept, other)
    assert not torch.equal(kept, before)
    assert torch.equal(pair.draft.read_context(features, positions)[0][0], before)


def test_a_second_draft_masks_the_same_layers(
    tiny_pair: Callable[..., Pair],
) -> None:
    """It read with the first one's, adapter and all: the method put on the draft was copied along."""
    pair = tiny_pair()
    adapter = ttt_adapt(pair, random_prompt(8), TTTSpec(steps=2, lr=0.1)).adapter
    features, positions = pair.prefill(random_prompt(8)).features[None], torch.arange(8)[None]
    with tapped(pair.draft, "deep"):
        base = pair.draft.read_context(features, positions)[0][0]
        with applied(pair.draft, adapter):
            twin = sharing_copy(pair.draft, None).read_context(features, positions)[0][0]
            assert not torch.equal(pair.draft.read_context(features, positions)[0][0], base)
    assert torch.equal(twin, base)


def test_fingerprint_follows_the_weights() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4)
    before = fingerprint(layer)
    assert fingerprint(layer) == before
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3
    assert fingerprint(layer) != before


def test_what_masks_the_layers_lies_beside_the_weights(tiny_pair: Callable[..., Pair]) -> None:
    """It lay on the CPU, and a study of layers on a card could not capture its passes."""
    draft = copy.deepcopy(tiny_pair().draft).to("meta")  # the pair is shared by all tests
    with tapped(draft, "deep"):
        assert draft.kept_features is not None
        assert draft.kept_features.device.type == "meta"
