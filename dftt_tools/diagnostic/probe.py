"""A linear probe per tapped layer: can the right token be told from a wrong one where the answer begins?

The probe is a bilinear form: a token's score is state · W · row, row being the token's in the target's head, and W is
fitted by ridge regression so that the right token's score is 1 above the wrong one's. It needs no fixed set of classes,
so answers may all be different. It is fitted on one half of the contexts and asked about the other, in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dftt.analysis.comparison import MIN_CONTEXTS, MIN_PAIRS
from dftt.analysis.statistics import Interval, holm, paired_difference, ratio_interval, student_p
from dftt.analysis.summary import interval_row
from dftt.tables import number
from dftt_tools.diagnostic.forcing import TARGET, ForcedAnswer

CHANCE = 0.5
HALVINGS = 10
RIDGE = 1.0  # of the kernel's mean diagonal
DECODABLE, NOT_SHOWN, TOO_FEW = "decodable", "not shown", "cannot tell"
_LEVEL = 0.05


@dataclass(frozen=True)
class ProbeResult:
    """How often the right token is preferred to the wrong one at one layer.

    Args:
        layer: Name of the layer.
        target: By the target itself.
        lens: By the target's last norm and head at this layer (logit lens).
        probe: By the probe, on contexts that it was not fitted on.
        shuffled: By a probe fitted on tokens that were shuffled among the states.
        gain: probe - shuffled.
        lost: probe - target: above 0 where the layer can tell what the target's exit does not say.
        adjusted: The p-value of the gain, by Holm among the layers.
    """

    layer: str
    target: Interval
    lens: Interval
    probe: Interval
    shuffled: Interval
    gain: Interval
    lost: Interval
    adjusted: float = 1.0

    @property
    def finding(self) -> str:
        """Decodable where the probe beats both chance and the shuffled labels."""
        if self.probe.n < MIN_PAIRS or self.probe.num_clusters < MIN_CONTEXTS:
            return TOO_FEW
        beats_both = self.probe.low > CHANCE and self.gain.low > 0 and self.adjusted < _LEVEL
        return DECODABLE if beats_both else NOT_SHOWN

    def to_json(self) -> dict[str, Any]:
        """A flat row; None where there is no number."""
        row: dict[str, Any] = {"layer": self.layer, "examples": self.probe.n, "contexts": self.probe.num_clusters}
        for name in ("target", "lens", "probe", "shuffled", "gain", "lost"):
            row |= interval_row(name, name, getattr(self, name))
        return row | {"chance": CHANCE, "adjusted": number(self.adjusted), "finding": self.finding}


def probe_layers(
    answers: Sequence[ForcedAnswer],
    layers: Sequence[str],
    token_rows: Tensor,  # (V, D)
    *,
    seed: int,
) -> list[ProbeResult]:
    """The probe's result at each layer, on all answers that have a choice; none where these have one context or none.

    Args:
        answers: What was read.
        layers: Names of the tapped layers, in order.
        token_rows: Rows of the target's head.
        seed: Seeds the halves and the shuffling.
    """
    usable = [each for each in answers if each.question.choice is not None]
    contexts = [each.question.context_id for each in usable]
    if len(set(contexts)) < 2:
        return []
    rights, wrongs = zip(*(each.question.choice or () for each in usable), strict=True)
    rows = token_rows.detach()
    differences = (rows[list(rights)] - rows[list(wrongs)]).to("cpu", torch.float64)
    ones = [1.0] * len(usable)
    target = [_win(each.preferences[TARGET]) for each in usable]
    results = []
    for place, layer in enumerate(layers):
        states = torch.stack([each.states[place] for each in usable])
        probe, shuffled = (share.tolist() for share in cross_validate(states, differences, contexts, seed=seed))
        results.append(
            ProbeResult(
                layer=layer,
                target=ratio_interval(target, ones, contexts),
                lens=ratio_interval([_win(each.preferences[layer]) for each in usable], ones, contexts),
                probe=ratio_interval(probe, ones, contexts),
                shuffled=ratio_interval(shuffled, ones, contexts),
                gain=paired_difference(probe, shuffled, contexts),
                lost=paired_difference(probe, target, contexts),
            )
        )
    adjusted = holm([student_p(result.gain) for result in results])
    return [replace(result, adjusted=p) for result, p in zip(results, adjusted, strict=True)]


def cross_validate(
    states: Tensor,  # (n, D)
    differences: Tensor,  # (n, E): row of the right token minus row of the wrong one
    contexts: Sequence[str],
    *,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """For each example the share of halvings in which the right token won, fitted on true and on shuffled labels, (n,).

    Examples of one context are always in the same half.
    """
    generator = torch.Generator().manual_seed(seed)
    names = sorted(set(contexts))
    number_of = {name: place for place, name in enumerate(names)}
    context = torch.tensor([number_of[name] for name in contexts])
    true, shuffled = torch.zeros(len(states)), torch.zeros(len(states))
    for _ in range(HALVINGS):
        in_first = torch.zeros(len(names), dtype=torch.bool)
        in_first[torch.randperm(len(names), generator=generator)[: len(names) // 2]] = True
        for fitted in (in_first[context], ~in_first[context]):
            own = differences[fitted]
            mixed = own[torch.randperm(len(own), generator=generator)]
            for wins, labels in ((true, own), (shuffled, mixed)):
                score = ridge_scores(states[fitted], labels, states[~fitted], differences[~fitted])
                wins[~fitted] += _wins(score) / HALVINGS
    return true, shuffled


def ridge_scores(
    states: Tensor,  # (n, D)
    differences: Tensor,  # (n, E)
    new_states: Tensor,  # (m, D)
    new_differences: Tensor,  # (m, E)
) -> Tensor:  # (m,)
    """How far new right tokens score above their wrong ones, by the W that ridge regression puts at 1 for the old ones.

    Solved in its dual form: n unknowns in place of D·E.
    """
    mean, std = states.mean(0), states.std(0, correction=0).clamp_min(1e-9)
    old, new = (states - mean) / std, (new_states - mean) / std
    kernel = (old @ old.T) * (differences @ differences.T)
    ridge = RIDGE * kernel.diagonal().mean().clamp_min(1e-9) * torch.eye(len(old), dtype=old.dtype)
    weights = torch.linalg.solve(kernel + ridge, torch.ones(len(old), dtype=old.dtype))
    return ((new @ old.T) * (new_differences @ differences.T)) @ weights


def _wins(margins: Tensor) -> Tensor:
    """1 where the right token is ahead, 0 where it is behind, half of each for a tie."""
    return (margins.sign() + 1) / 2


def _win(margin: float) -> float:
    return float(_wins(torch.tensor(margin)))
