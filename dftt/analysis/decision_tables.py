"""The lines of the decision tables: what a question's comparisons allow to say, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dftt.analysis.comparison import MAX_UNSCORED, MIN_CONTEXTS, MIN_PAIRS, Comparison

WORTHWHILE_TAU = 0.5  # the gain in tau that was asked for beforehand

Line = tuple[str, str, Comparison]  # short name, words, and the comparison that shows it


def tau_line(made: Sequence[Comparison]) -> Line:
    """What test-time training does to tau, from adapted to the own context against not adapted, for each setting.

    An effect that is sure in one setting is said, whatever the others are.
    """
    if raised := [each for each in made if each.finding == "above"]:
        if worthwhile := [each for each in raised if each.at_least > WORTHWHILE_TAU]:
            text = f"TTT raises tau by more than {WORTHWHILE_TAU}{_among(worthwhile, made)}"
            return "worthwhile", text, largest(worthwhile)
        best, where = largest(raised), _among(raised, made)
        if all(each.finding != "too few" and each.at_most < WORTHWHILE_TAU for each in made):
            return "small", f"TTT raises tau, by less than {WORTHWHILE_TAU}{where}", best
        return "raised", f"TTT raises tau{where}; whether by {WORTHWHILE_TAU} cannot be told", best
    if all(each.finding == "equal" for each in made):
        return "unchanged", f"TTT leaves tau as it is{_among(made, made)}", largest(made)
    lowered, open_ = ([each for each in made if each.finding == kind] for kind in ("below", "unclear"))
    open_ += [each for each in made if each.finding == "too few"]
    if lowered:
        rest = f"; in {len(open_)} of them it cannot be told" if open_ else ""
        return "lowered", f"TTT lowers tau{_among(lowered, made)}{rest}", largest(lowered)
    least = _most_open(open_)
    return "cannot tell", f"Cannot tell whether TTT raises tau, {why(least)}", least


def guidance_line(plain: Sequence[Comparison], adapted: Sequence[Comparison], steps: Sequence[Comparison]) -> Line:
    """The line of the decision table on guidance that holds.

    It is found from guided without TTT against the target (plain), guided with TTT against the target (adapted), and
    guided with TTT against guided without (steps).
    """
    below_of = {each.arm: each.reference for each in steps}
    helped = {each.arm for each in plain if each.finding == "above"}
    added = [each for each in steps if each.finding == "above"]
    full = [each for each in added if below_of[each.arm] in helped]
    if full:
        return "full", "(TTT + guided) > guided > baseline, the full hypothesis", largest(full)
    won = [each for each in adapted if each.finding == "above"]
    if won and helped:
        return "adapted", "(TTT + guided) > baseline, and so is guided; that TTT adds to it is not shown", largest(won)
    if won and plain and all(each.finding == "equal" for each in plain):
        return "ttt", "guided ≈ baseline < (TTT + guided), so TTT is essential", largest(won)
    if won:
        return "adapted", "(TTT + guided) > baseline; what guidance does without TTT cannot be told", largest(won)
    if helped:
        text = "guided > baseline; that TTT adds to it is not shown"
        return "guided", text, largest([each for each in plain if each.arm in helped])
    every = [*plain, *adapted]
    if all(each.finding == "equal" for each in every):
        text = f"guided ≈ (TTT + guided) ≈ baseline{_floor(every)}, the hypothesis fails"
        return "none", text, largest(every)
    return _no_gain(every, "Guidance", ", the hypothesis fails")


def baselines_line(made: Sequence[Comparison]) -> Line:
    """What the methods that do without the draft do to the pass rate, each of them against the target."""
    if won := [each for each in made if each.finding == "above"]:
        return "help", f"A baseline helps, in {_of(won, made)}", largest(won)
    if all(each.finding == "equal" for each in made):
        return "none", f"The baselines change no pass rate{_floor(made)}", largest(made)
    return _no_gain(made, "A baseline")


def control_line(made: Sequence[Comparison], guided: str, control: str) -> Line:
    """Whether what the draft guides differs from a control: the one against the other, for each setting."""
    better, worse = ([each for each in made if each.finding == finding] for finding in ("above", "below"))
    if better and worse:
        text = f"{guided} does better than {control} in {len(better)} of {len(made)} settings and worse in {len(worse)}"
        return "mixed", text, largest([*better, *worse])
    if better:
        return "above", f"{guided} does better than {control}, in {_of(better, made)}", largest(better)
    if worse:
        return "below", f"{guided} does worse than {control}, in {_of(worse, made)}", largest(worse)
    if all(each.finding == "equal" for each in made):
        return "equal", f"{guided} does as well as {control}{_floor(made)}", largest(made)
    least = _most_open(made)
    return "cannot tell", f"whether {guided} does better than {control} cannot be told, {why(least)}", least


def why(each: Comparison) -> str:
    """Why nothing can be claimed, and what would help."""
    if each.unusable > MAX_UNSCORED * each.intended:
        return f"{each.unusable} of {each.intended} pairs are unscored or missing (at most {MAX_UNSCORED:.0%} may be)"
    if each.num_tasks < MIN_PAIRS:
        seeds = "" if each.num_tasks == each.interval.n else f" in {each.interval.n} pairs"
        kind = "pairs" if each.num_tasks == each.interval.n else "tasks"
        return f"{each.num_tasks} {kind}{seeds} are too few (at least {MIN_PAIRS})"
    if each.interval.num_clusters < MIN_CONTEXTS:
        return f"{each.interval.num_clusters} contexts are too few (at least {MIN_CONTEXTS})"
    if each.floor and each.enough > each.num_tasks:
        both = "fail" if each.floor == "floor" else "pass"
        return f"both arms {both} all {each.interval.n}, a {each.floor} (about {each.enough} pairs would tell)"
    if each.enough <= each.interval.n:
        return f"the interval excludes neither zero, by Holm, nor effects beyond {each.margin}"
    return f"the interval is too wide (about {each.enough} pairs would tell)"


def largest(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparison with the largest effect, of either sign."""
    return max(comparisons, key=lambda each: _or_least(abs(each.interval.estimate)))


def _no_gain(every: Sequence[Comparison], what: str, fails: str = "") -> Line:
    """The line where nothing is above the target and not everything equal to it."""
    worse = [each for each in every if each.finding == "below"]
    may_help = [each for each in every if not each.excludes_gain]
    if not may_help and worse:
        return "harm", f"{what} helps nowhere and harms in {_of(worse, every)}{fails}", largest(worse)
    if not may_help:
        best = max(every, key=lambda each: _or_least(each.interval.estimate))
        return "none", f"{what} helps nowhere{_floor(every)}{fails}", best
    least = _most_open(may_help)
    if not worse:
        return "cannot tell", f"Cannot tell whether {what.lower()} helps, {why(least)}", least
    text = f"{what} is shown to help nowhere and to harm in {_of(worse, every)}; in {len(may_help)} it cannot be told"
    return "harm or unclear", f"{text}, least in this, where {why(least)}", least


def _most_open(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparison of which least is known: too few pairs, or else the largest effect that it does not exclude."""
    return max(comparisons, key=lambda each: (each.finding == "too few", _or_least(each.at_most)))


def _of(some: Sequence[Comparison], every: Sequence[Comparison]) -> str:
    return f"{len(some)} of {len(every)} settings"


def _among(some: Sequence[Comparison], every: Sequence[Comparison]) -> str:
    return f", in {_of(some, every)}" if len(every) > 1 else ""


def _floor(every: Sequence[Comparison]) -> str:
    """A warning where equal arms could not have differed downwards, or upwards."""
    kinds = {each.floor for each in every}
    if kinds == {"floor"}:
        return " (a floor: all arms fail everything)"
    return " (a ceiling: all arms pass everything)" if kinds == {"ceiling"} else ""


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
