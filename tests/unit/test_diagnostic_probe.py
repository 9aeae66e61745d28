"""The probe finds what is linearly there, and nothing where nothing is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dftt.analysis.statistics import Interval
from dftt_tools.diagnostic.forcing import TARGET, ForcedAnswer
from dftt_tools.diagnostic.probe import ProbeResult, cross_validate, probe_layers, ridge_scores
from dftt_tools.diagnostic.questions import Question

WIDTH, VOCAB = 16, 24


def choices(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of a head (V, D), and a right and a wrong token for each example, (n,)."""
    rows = torch.randn(VOCAB, WIDTH, generator=generator, dtype=torch.float64)
    right = torch.randint(0, VOCAB, (count,), generator=generator)
    wrong = (right + torch.randint(1, VOCAB, (count,), generator=generator)) % VOCAB
    return rows, right, wrong


def planted(count: int = 400, *, signal: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """States that hold the right token's row, turned by a random matrix, in so much noise; and the differences."""
    generator = torch.Generator().manual_seed(seed)
    rows, right, wrong = choices(count, generator)
    turn = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    states = signal * rows[right] @ turn + torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
    return states, rows[right] - rows[wrong]


def own_contexts(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


def test_a_planted_signal_is_found_and_no_shuffled_one() -> None:
    states, differences = planted(signal=10.0)
    found, shuffled = cross_validate(states, differences, own_contexts(400), seed=0)
    assert found.mean() > 0.97
    assert shuffled.mean() == pytest.approx(0.5, abs=0.06)


def test_noise_stays_at_chance() -> None:
    states, differences = planted(signal=0.0)
    found, _ = cross_validate(states, differences, own_contexts(400), seed=0)
    assert found.mean() == pytest.approx(0.5, abs=0.06)


def test_examples_of_a_context_are_never_on_both_sides() -> None:
    """Repeated examples would be learnt by heart if they were: pure noise would look decodable."""
    states, differences = planted(40, signal=0.0)
    states, differences = states.repeat_interleave(10, dim=0), differences.repeat_interleave(10, dim=0)
    together = [name for name in own_contexts(40) for _ in range(10)]
    honest, _ = cross_validate(states, differences, together, seed=0)
    leaking, _ = cross_validate(states, differences, own_contexts(400), seed=0)
    assert honest.mean() < 0.65
    assert leaking.mean() > 0.9


def test_the_same_seed_gives_the_same_result() -> None:
    states, differences = planted(30, signal=1.0)
    first, again, other = (cross_validate(states, differences, own_contexts(30), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_the_dual_solution_is_that_of_the_written_out_form() -> None:
    """W has D·E entries; the features of an example are the products of its state with its difference."""
    states, differences = planted(12, signal=1.0)
    new_states, new_differences = planted(5, signal=1.0, seed=1)
    mean, std = states.mean(0), states.std(0, correction=0)

    def products(some: Tensor, others: Tensor) -> Tensor:
        return torch.einsum("nd,ne->nde", (some - mean) / std, others).flatten(1)

    features = products(states, differences)
    ridge = (features**2).sum(1).mean()
    gram = features.T @ features + ridge * torch.eye(features.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, features.sum(0))
    got = ridge_scores(states, differences, new_states, new_differences)
    torch.testing.assert_close(got, products(new_states, new_differences) @ weights)


def answers(count: int, *, signal: float, right_by_target: bool = False, choice: bool = True) -> tuple[list, Tensor]:
    """Answers with two layers: the first holds noise, the second the signal."""
    generator = torch.Generator().manual_seed(0)
    rows, right, wrong = choices(count, generator)
    noise = torch.randn(2, count, WIDTH, generator=generator, dtype=torch.float64)
    states = torch.stack([noise[0], noise[1] + signal * rows[right]], dim=1)  # (n, L, D)
    margin = 1.0 if right_by_target else -1.0
    made = [
        ForcedAnswer(
            Question(f"t{n}", f"c{n}", (1,), (2,), (int(right[n]), int(wrong[n])) if choice else None),
            {},
            states[n],
            {TARGET: margin, "layer 1": 0.0, "layer 2": margin},
        )
        for n in range(count)
    ]
    return made, rows


def test_a_layer_that_knows_more_than_is_said_is_named() -> None:
    made, rows = answers(200, signal=5.0)
    first, second = (each.to_json() for each in probe_layers(made, ["layer 1", "layer 2"], rows, seed=0))
    assert (first["finding"], second["finding"]) == ("not shown", "decodable")
    assert second["lost_low"] > 0.3
    assert (second["target"], second["lens"], first["lens"], second["chance"]) == (0.0, 0.0, 0.5, 0.5)


def test_too_few_examples_cannot_tell() -> None:
    made, rows = answers(29, signal=20.0)
    assert [each.finding for each in probe_layers(made, ["layer 1", "layer 2"], rows, seed=0)] == ["cannot tell"] * 2


def test_answers_without_a_choice_are_left_out() -> None:
    made, rows = answers(40, signal=5.0)
    without, _ = answers(10, signal=5.0, choice=False)
    results = probe_layers([*without, *made], ["layer 1", "layer 2"], rows, seed=0)
    assert [each.probe.n for each in results] == [40, 40]
    assert probe_layers(without, ["layer 1", "layer 2"], rows, seed=0) == []


@pytest.mark.parametrize(
    ("probe_low", "gain_low", "adjusted", "finding"),
    [
        (0.6, 0.1, 0.01, "decodable"),
        (0.4, 0.1, 0.01, "not shown"),  # beats the shuffled labels, not chance
        (0.6, -0.1, 0.01, "not shown"),  # beats chance, as the shuffled labels do
        (0.6, 0.1, 0.2, "not shown"),  # a chance find among several layers
    ],
)
def test_decodable_is_what_beats_chance_and_the_shuffled_labels(
    probe_low: float, gain_low: float, adjusted: float, finding: str
) -> None:
    def interval(low: float) -> Interval:
        return Interval(low + 0.2, low, low + 0.4, 50, 50)

    other = interval(0.0)
    result = ProbeResult("layer 1", other, other, interval(probe_low), other, interval(gain_low), other, adjusted)
    assert result.finding == finding
