"""The diagnostic in tables and sentences. The sentences are made from ranks alone."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.analysis.statistics import Interval, holm, student_p
from dftt.tables import align, number, value_range
from dftt_tools.diagnostic.comparing import (
    ALL,
    BETTER,
    CONTRASTS,
    DRAFTS,
    MISSED,
    SAME,
    TOO_FEW,
    WORSE,
    RankComparison,
)
from dftt_tools.diagnostic.forcing import TARGET
from dftt_tools.diagnostic.probe import ProbeResult

_LEVEL = 0.05
_CLAIMS = (*((draft, TARGET) for draft in DRAFTS), *CONTRASTS)
_NOTES = (
    "Rank 1 is the best. a / b: of the source / of what it is compared with. Intervals: 95 %, by contexts; a\n"
    "share of 0 or 1 has no width there. Where the target does not rank the token first, any other reader is ahead\n"
    "now and then, a senseless one too: read those rows beside `noise` and `wrong`."
)
_WORDS = {BETTER: "ahead of", WORSE: "behind", SAME: "not shown to differ from"}


def conclude(comparisons: Sequence[RankComparison]) -> list[str]:
    """What may be said of slot 1 by rank: one sentence on all tokens, one on those that the target misses.

    Ahead and behind are claimed where the interval excludes 0 and the p-value, by Holm among all claims of both
    sentences, is below 0.05.
    """
    order = {claim: place for place, claim in enumerate(_CLAIMS)}
    claims = sorted(
        (each for each in comparisons if each.slot == 1 and each.bucket in (ALL, MISSED) and each.pair in order),
        key=lambda each: (each.bucket, order[each.pair]),
    )
    told = [each for each in claims if each.finding != TOO_FEW]
    adjusted = holm([student_p(each.by_rank.net) for each in told])
    findings = {
        (each.bucket, each.pair): each.finding if p < _LEVEL else SAME for each, p in zip(told, adjusted, strict=True)
    }
    sentences = []
    for bucket in dict.fromkeys(each.bucket for each in claims):
        members = [each for each in claims if each.bucket == bucket]
        net = members[0].by_rank.net  # every claim rests on the same tokens
        clauses = [_clause(each, findings[bucket, each.pair]) for each in members if (bucket, each.pair) in findings]
        said = "; ".join(clauses) or "cannot tell, too few tokens or contexts"
        sentences.append(f"By rank at slot 1 ({bucket}: {net.n} tokens of {net.num_clusters} contexts), net: {said}.")
    return sentences


def _clause(claim: RankComparison, finding: str) -> str:
    return f"{claim.source} is {_WORDS[finding]} {claim.against} ({_interval(claim.by_rank.net, '+')})"


def format_all(comparisons: Sequence[RankComparison], probes: Sequence[ProbeResult]) -> str:
    """All tables and sentences."""
    drafts = [each for each in comparisons if each.source in DRAFTS]
    tables = {
        "The drafts against the target, slot 1": [
            _cells(each) for each in drafts if each.against == TARGET and each.slot == 1
        ],
        "The drafts against each other, slot 1": [_cells(each) for each in drafts if each.against != TARGET],
        "The drafts against the target, later slots": [
            {"slot": str(each.slot), **_cells(each)} for each in drafts if each.slot > 1 and each.bucket == ALL
        ],
        "The logit lens of the tapped layers against the target": [
            {**_cells(each), "ranked first": _interval(each.top_1)}
            for each in comparisons
            if each.source not in DRAFTS and each.bucket in (ALL, MISSED)
        ],
        "Right or wrong first token of the answer: how often the right one is preferred": [
            _probe_cells(each) for each in probes
        ],
    }
    parts = [f"{title}\n\n{align(rows) if rows else 'cannot tell: no rows'}" for title, rows in tables.items()]
    return "\n\n".join([*parts, _NOTES, *conclude(comparisons)])


def _cells(comparison: RankComparison) -> dict[str, str]:
    rank, probability = comparison.by_rank, comparison.by_probability
    return {
        "source": comparison.source,
        "against": comparison.against,
        "bucket": comparison.bucket,
        "tokens": str(rank.net.n),
        "contexts": str(rank.net.num_clusters),
        "median rank": f"{comparison.median_rank:g} / {comparison.median_rank_against:g}",
        "better by rank": _interval(rank.better),
        "equal": f"{rank.equal.estimate:.3f}",
        "worse by rank": _interval(rank.worse),
        "better by probability": _interval(probability.better),
        "entropy": f"{comparison.entropy:.2f} / {comparison.entropy_against:.2f}",
        "by rank": comparison.finding,
    }


def _probe_cells(result: ProbeResult) -> dict[str, str]:
    return {
        "layer": result.layer,
        "examples": str(result.probe.n),
        "contexts": str(result.probe.num_clusters),
        "target": _interval(result.target),
        "lens": _interval(result.lens),
        "probe": _interval(result.probe),
        "shuffled": _interval(result.shuffled),
        "probe - shuffled": _interval(result.gain, "+"),
        "probe - target": _interval(result.lost, "+"),
        "finding": result.finding,
    }


def _interval(interval: Interval, sign: str = "") -> str:
    return value_range(number(interval.estimate), number(interval.low), number(interval.high), sign)
