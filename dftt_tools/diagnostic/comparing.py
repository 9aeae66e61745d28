"""Which of two sources ranks the tokens of answers higher, by slot and by how sure the target is.

Rank decides. A flat distribution gives tokens that a sharp one is wrong about more probability without knowing any of
them, so comparing probabilities favours whoever has more entropy; they are reported to show just that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dftt.analysis.comparison import MIN_CONTEXTS, MIN_PAIRS
from dftt.analysis.statistics import Interval, ratio_interval
from dftt.analysis.summary import interval_row
from dftt_tools.diagnostic.forcing import BASE, NOISE, OWN, TARGET, WRONG, ForcedAnswer
from dftt_tools.diagnostic.reading import Reading

Array = NDArray[np.float64]

DRAFTS = (BASE, OWN, WRONG, NOISE)
CONTRASTS = ((BASE, NOISE), (OWN, BASE), (OWN, WRONG))  # of one draft with another, at slot 1
ALL, RANKED_FIRST, MISSED = "all", "target rank 1", "target rank > 1"
LEVELS = ("confidence < 0.3", "confidence 0.3-0.6", "confidence 0.6-0.9", "confidence >= 0.9")
EDGES = (0.3, 0.6, 0.9)  # between the levels
BETTER, WORSE, SAME, TOO_FEW = "better", "worse", "no difference shown", "cannot tell"


@dataclass(frozen=True)
class Tokens:
    """Tokens of all answers, as columns.

    Args:
        contexts: Context of each token, (n,).
        readings: By source, (n, S).
    """

    contexts: NDArray[np.str_]
    readings: Mapping[str, Reading]

    @classmethod
    def of(cls, answers: Sequence[ForcedAnswer]) -> Tokens:
        """The tokens of at least one answer; all answers have the same sources."""
        contexts = chain(*([each.question.context_id] * len(each.question.answer) for each in answers))
        readings = {
            source: Reading(
                *(
                    torch.cat([getattr(each.readings[source], field.name) for each in answers])
                    for field in fields(Reading)
                )
            )
            for source in answers[0].readings
        }
        return cls(np.array(list(contexts)), readings)

    def buckets(self) -> dict[str, NDArray[np.bool_]]:
        """Which tokens are in each bucket, (n,): all; by whether the target ranks them first; by its confidence."""
        target = self.readings[TARGET]
        is_first = target.ranks[:, 0].numpy() == 1
        level = np.digitize(target.confidence[:, 0].numpy(), EDGES)
        by_level = {name: level == place for place, name in enumerate(LEVELS)}
        return {ALL: np.ones_like(is_first), RANKED_FIRST: is_first, MISSED: ~is_first, **by_level}


@dataclass(frozen=True)
class Wins:
    """How often one source is ahead of another.

    Args:
        better: Share of tokens on which it is ahead.
        equal: Share of ties.
        worse: Share on which it is behind.
        net: better - worse.
    """

    better: Interval
    equal: Interval
    worse: Interval
    net: Interval

    @classmethod
    def of(cls, lead: Array, contexts: Sequence[str]) -> Wins:
        """Wins where the lead is positive, ties where it is 0."""
        ones = np.ones(len(lead)).tolist()
        columns = (lead > 0, lead == 0, lead < 0, np.sign(lead))
        return cls(*(ratio_interval(column.astype(float).tolist(), ones, contexts) for column in columns))


@dataclass(frozen=True)
class RankComparison:
    """A source against another on the tokens of a bucket that both reach.

    Args:
        source: Name of the source.
        against: Name of the other.
        slot: Slot of the block that the source is read from; the other is read from its first.
        bucket: Name of the bucket.
        median_rank: Of the source.
        median_rank_against: Of the other.
        entropy: Mean entropy of the source, in nats.
        entropy_against: Of the other.
        top_1: Share of tokens that the source ranks first.
        by_rank: Ahead is who ranks the token higher.
        by_probability: Ahead is who gives it more probability.
    """

    source: str
    against: str
    slot: int
    bucket: str
    median_rank: float
    median_rank_against: float
    entropy: float
    entropy_against: float
    top_1: Interval
    by_rank: Wins
    by_probability: Wins

    @property
    def pair(self) -> tuple[str, str]:
        """Who is compared with whom."""
        return self.source, self.against

    @property
    def finding(self) -> str:
        """Better, worse or no difference shown, by rank alone; cannot tell where there are too few tokens."""
        net = self.by_rank.net
        if net.n < MIN_PAIRS or net.num_clusters < MIN_CONTEXTS:
            return TOO_FEW
        return BETTER if net.low > 0 else WORSE if net.high < 0 else SAME

    def to_json(self) -> dict[str, Any]:
        """A flat row; None where there is no number."""
        row: dict[str, Any] = {
            "source": self.source,
            "against": self.against,
            "slot": self.slot,
            "bucket": self.bucket,
            "tokens": self.by_rank.net.n,
            "contexts": self.by_rank.net.num_clusters,
            "median_rank": self.median_rank,
            "median_rank_against": self.median_rank_against,
            "entropy": self.entropy,
            "entropy_against": self.entropy_against,
            **interval_row("top_1", "top_1", self.top_1),
        }
        for kind, wins in (("rank", self.by_rank), ("probability", self.by_probability)):
            for name in ("better", "equal", "worse", "net"):
                row |= interval_row(f"{kind}_{name}", f"{kind}_{name}", getattr(wins, name))
        return row | {"finding": self.finding}


def compare_all(tokens: Tokens) -> list[RankComparison]:
    """Every source against the target, by slot and bucket, and the drafts' contrasts; empty buckets are left out."""
    asked = [(source, TARGET, slot) for source, slot in _slots(tokens) if source != TARGET]
    asked += [(a, b, 1) for a, b in CONTRASTS if a in tokens.readings and b in tokens.readings]
    buckets = tokens.buckets()
    made = (
        compare(tokens, source, against, slot=slot, bucket=bucket, among=among)
        for source, against, slot in asked
        for bucket, among in buckets.items()
    )
    return [each for each in made if each is not None]


def compare(
    tokens: Tokens, source: str, against: str, *, slot: int, bucket: str, among: NDArray[np.bool_]
) -> RankComparison | None:
    """A source against another on the chosen tokens that the source reaches by the slot; None where there are none.

    Args:
        tokens: All tokens.
        source: Name of the source.
        against: Name of the other, read from its first slot.
        slot: Slot that the source is read from.
        bucket: Name of the choice.
        among: The choice, (n,).
    """
    ours, theirs = tokens.readings[source], tokens.readings[against]
    chosen = among & ~np.isnan(ours.ranks[:, slot - 1].numpy())
    if not chosen.any():
        return None
    contexts = tokens.contexts[chosen].tolist()

    def columns(name: str) -> tuple[Array, Array]:
        return getattr(ours, name)[:, slot - 1].numpy()[chosen], getattr(theirs, name)[:, 0].numpy()[chosen]

    (rank, other_rank), (log_prob, other_log_prob) = columns("ranks"), columns("log_probs")
    entropy, other_entropy = columns("entropy")
    return RankComparison(
        source=source,
        against=against,
        slot=slot,
        bucket=bucket,
        median_rank=float(np.median(rank)),
        median_rank_against=float(np.median(other_rank)),
        entropy=float(entropy.mean()),
        entropy_against=float(other_entropy.mean()),
        top_1=ratio_interval((rank == 1).astype(float).tolist(), [1.0] * len(rank), contexts),
        by_rank=Wins.of(other_rank - rank, contexts),
        by_probability=Wins.of(log_prob - other_log_prob, contexts),
    )


def _slots(tokens: Tokens) -> Iterator[tuple[str, int]]:
    for source, reading in tokens.readings.items():
        for slot in range(1, reading.ranks.shape[1] + 1):
            yield source, slot
