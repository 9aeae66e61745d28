"""The lines of the decision tables: what a question's comparisons allow to say, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dftt.evaluation.comparison import MARGINS, MAX_UNSCORED, MIN_CONTEXTS, MIN_PAIRS, Comparison

WORTHWHILE_TAU = 0.5  # the gain in tau that was asked for beforehand

Line = tuple[str, str, Comparison]  # short name, words, and the comparison that shows it


def tau_line(best: Comparison) -> tuple[str, str]:
    """Short name and words on what test-time training does to tau."""
    if best.finding == "too few":
        return "cannot tell", f"Cannot tell whether TTT raises tau, {why(best)}"
    if best.finding == "above":
        if best.interval.low > WORTHWHILE_TAU:
            return "worthwhile", f"TTT raises tau by more than {WORTHWHILE_TAU}"
        if best.interval.high < WORTHWHILE_TAU:
            return "small", f"TTT raises tau, by less than {WORTHWHILE_TAU}"
        return "raised", f"TTT raises tau; whether by {WORTHWHILE_TAU} cannot be told"
    if best.finding == "below":
        return "lowered", "TTT lowers tau"
    if best.finding == "equal":
        return "unchanged", "TTT leaves tau as it is"
    return "cannot tell", f"Cannot tell whether TTT raises tau, {why(best)}"


def guidance_line(plain: Sequence[Comparison], adapted: Sequence[Comparison], steps: Sequence[Comparison]) -> Line:
    """The line of the seeds' decision table that holds.

    Args:
        plain: Guided without TTT against the target.
        adapted: Guided with TTT against the target.
        steps: Guided with TTT against guided without.
    """
    below_of = {each.arm: each.reference for each in steps}
    helped = {each.arm for each in plain if each.finding == "above"}
    added = [each for each in steps if each.finding == "above"]
    full = [each for each in added if below_of[each.arm] in helped]
    if full:
        return "full", "(TTT + guided) > guided > baseline, the full hypothesis", largest(full)
    won = [each for each in adapted if each.finding == "above"]
    if won and plain and all(each.finding == "equal" for each in plain):
        return "ttt", "guided ≈ baseline < (TTT + guided), so TTT is essential", largest(won)
    if won:
        return "adapted", "(TTT + guided) > baseline; what guidance does without TTT cannot be told", largest(won)
    if helped:
        text = "guided > baseline; that TTT adds to it is not shown"
        return "guided", text, largest([each for each in plain if each.arm in helped])
    every = [*plain, *adapted]
    if all(each.finding == "equal" for each in every):
        return "none", "guided ≈ (TTT + guided) ≈ baseline, the hypothesis fails", largest(every)
    return _no_gain(every, "Guidance", ", the hypothesis fails")


def baselines_line(made: Sequence[Comparison]) -> Line:
    """What the methods that do without the draft do to the pass rate.

    Args:
        made: Each of them against the target.
    """
    if won := [each for each in made if each.finding == "above"]:
        return "help", f"A baseline helps, in {_of(won, made)}", largest(won)
    if all(each.finding == "equal" for each in made):
        return "none", "The baselines change no pass rate", largest(made)
    return _no_gain(made, "A baseline")


def control_line(made: Sequence[Comparison], guided: str, control: str) -> Line:
    """Whether what the draft guides differs from a control.

    Args:
        made: The one against the other, for each setting.
        guided: Names the one.
        control: Names the other.
    """
    better, worse = ([each for each in made if each.finding == finding] for finding in ("above", "below"))
    if better and worse:
        text = f"{guided} does better than {control} in {len(better)} of {len(made)} settings and worse in {len(worse)}"
        return "mixed", text, largest([*better, *worse])
    if better:
        return "above", f"{guided} does better than {control}, in {_of(better, made)}", largest(better)
    if worse:
        return "below", f"{guided} does worse than {control}, in {_of(worse, made)}", largest(worse)
    if all(each.finding == "equal" for each in made):
        return "equal", f"{guided} does as well as {control}", largest(made)
    least = _most_open(made)
    return "cannot tell", f"whether {guided} does better than {control} cannot be told, {why(least)}", least


def why(each: Comparison) -> str:
    """Why nothing can be claimed, and what would help."""
    intended = each.interval.n + each.unusable
    if each.unusable > MAX_UNSCORED * intended:
        return f"{each.unusable} of {intended} pairs are unscored or missing (at most {MAX_UNSCORED:.0%} may be)"
    if each.interval.n < MIN_PAIRS:
        return f"{each.interval.n} pairs are too few (at least {MIN_PAIRS})"
    if each.interval.num_clusters < MIN_CONTEXTS:
        return f"{each.interval.num_clusters} contexts are too few (at least {MIN_CONTEXTS})"
    if each.enough <= each.interval.n:
        return f"the interval excludes neither zero, by Holm, nor effects beyond {MARGINS[each.measure]}"
    return f"the interval is too wide (about {each.enough} pairs would tell)"


def largest(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparison with the largest effect, of either sign."""
    return max(comparisons, key=lambda each: _or_least(abs(each.interval.estimate)))


def highest(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparison with the highest effect."""
    return max(comparisons, key=lambda each: _or_least(each.interval.estimate))


def _no_gain(every: Sequence[Comparison], what: str, fails: str = "") -> Line:
    """The line where nothing is above the target and not everything equal to it."""
    worse = [each for each in every if each.finding == "below"]
    may_help = [each for each in every if not each.excludes_gain]
    if not may_help and worse:
        return "harm", f"{what} helps nowhere and harms in {_of(worse, every)}{fails}", largest(worse)
    if not may_help:
        return "none", f"{what} helps nowhere{fails}", highest(every)
    least = _most_open(may_help)
    if not worse:
        return "cannot tell", f"Cannot tell whether {what.lower()} helps, {why(least)}", least
    text = f"{what} is shown to help nowhere and to harm in {_of(worse, every)}; in {len(may_help)} it cannot be told"
    return "harm or unclear", f"{text}, least in this, where {why(least)}", least


def _most_open(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparison of which least is known: too few pairs, or else the largest effect that it does not exclude."""
    return max(comparisons, key=lambda each: (each.finding == "too few", _or_least(each.interval.high)))


def _of(some: Sequence[Comparison], every: Sequence[Comparison]) -> str:
    return f"{len(some)} of {len(every)} settings"


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
