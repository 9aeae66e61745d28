"""`python -m benchmarks.coverage`: how often the verdict's intervals cover the truth, and how often it claims too much.

Made-up studies: contexts of one to six tasks, answered under two seeds. Contexts differ, tasks differ, and what an arm
changes differs from context to context; the two seeds of a task mostly agree. Of such studies the true difference is
known (from a study of 100,000 contexts), so that intervals can be counted that miss it; and where arms differ in
nothing but chance, so can the families of comparisons in which something is claimed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dftt.analysis.arm_roles import ArmPair, Measure
from dftt.analysis.comparison import adjust, compare
from dftt.analysis.frame import frame_of
from dftt.analysis.statistics import paired_difference
from dftt.types import Record

CONTEXTS = (5, 8, 12, 24, 80)
SEEDS = 2
_TRUTH = 100_000  # contexts
Array = NDArray[np.float64]


class Studies:
    """Draws studies.

    Args:
        seed: Of the draws.
        effect: What an arm changes on average; 0 makes it as good as the target.
        arms: Arms beside the target.
    """

    def __init__(self, seed: int, *, effect: float, arms: int = 1) -> None:
        self.rng, self.effect, self.arms = np.random.default_rng(seed), effect, arms

    def passes(self, contexts: int) -> tuple[Array, NDArray[np.int64]]:
        """Of each arm, task and seed whether it passes, the target first, (arms + 1, tasks, seeds); contexts, (tasks,).

        Every arm has its own luck with a context and with a task, the target too, so that with no effect all are alike.
        """
        context = np.repeat(np.arange(contexts), self.rng.integers(1, 7, contexts))
        shape = self.arms + 1, len(context)
        level = self.rng.normal(-0.5, 1, contexts)[context] + self.rng.normal(0, 1, len(context))
        own = self.rng.normal(0, 0.7, (self.arms + 1, contexts))[:, context] + self.rng.normal(0, 0.7, shape)
        own[1:] += self.effect
        chance = 1 / (1 + np.exp(-2 * (level + own)))
        return (self.rng.random((*shape, SEEDS)) < chance[..., None]).astype(float), context

    def steps(self, contexts: int) -> tuple[Array, Array, NDArray[np.int64]]:
        """Tokens and verify steps of each arm and task, (arms + 1, tasks), and contexts, (tasks,)."""
        context = np.repeat(np.arange(contexts), self.rng.integers(1, 7, contexts))
        shape = self.arms + 1, len(context)
        tau = np.exp(self.rng.normal(0.6, 0.25, contexts)[context] + self.rng.normal(0, 0.2, len(context)))
        own = self.rng.normal(0, 0.08, (self.arms + 1, contexts))[:, context] + self.rng.normal(0, 0.08, shape)
        own[1:] += self.effect
        tokens = np.broadcast_to(self.rng.integers(8, 129, len(context)), shape).astype(float)
        return tokens, np.maximum(1, np.round(tokens / (1 + tau * np.exp(own)))), context

    def records(self, contexts: int, measure: Measure) -> list[Record]:
        """A study of arms "0" (the target), "1", and so on."""
        if measure == "tau":
            tokens, steps, context = self.steps(contexts)
            return [
                Record(f"t{t}", f"c{c}", str(arm), 0, "", acceptance_lengths=_lengths(tokens[arm, t], steps[arm, t]))
                for arm in range(self.arms + 1)
                for t, c in enumerate(context)
            ]
        passed, context = self.passes(contexts)
        return [
            Record(f"t{t}", f"c{c}", str(arm), seed, "", passed=bool(passed[arm, t, seed]))
            for arm in range(self.arms + 1)
            for t, c in enumerate(context)
            for seed in range(SEEDS)
        ]

    def truth(self, measure: Measure) -> float:
        """The difference of arm 1 from the target in a study so large that chance is out of it."""
        if measure == "tau":
            tokens, steps, context = self.steps(_TRUTH)
            arms = {"steps_a": steps[1].tolist(), "steps_b": steps[0].tolist()}
            return paired_difference(
                tokens[1].tolist(), tokens[0].tolist(), context.astype(str).tolist(), **arms
            ).estimate
        passed, _ = self.passes(_TRUTH)
        return float(passed[1].mean() - passed[0].mean())


def coverage(contexts: int, measure: Measure, trials: int, *, effect: float = 0.5) -> float:
    """Share of studies whose interval holds the true difference."""
    studies = Studies(contexts, effect=effect if measure == "pass rate" else effect / 5)
    truth, pair, held = studies.truth(measure), ArmPair("guidance", "1", "0", "the target", measure), 0
    for _ in range(trials):
        made = compare(studies.records(contexts, measure), pair).interval
        held += made.low <= truth <= made.high
    return held / trials


def family_error(contexts: int, measure: Measure, trials: int, *, arms: int = 8) -> float:
    """Share of families of comparisons in which an effect is claimed although no arm has one."""
    studies, wrong = Studies(contexts, effect=0.0, arms=arms), 0
    pairs = [ArmPair("guidance", str(arm), "0", "the target", measure) for arm in range(1, arms + 1)]
    for _ in range(trials):
        frame = frame_of(studies.records(contexts, measure))
        made = adjust([compare(frame, pair) for pair in pairs])
        # Too few contexts or pairs would forbid any claim: the test itself is asked here.
        wrong += any(each.adjusted < 0.05 and not each.at_least <= 0 <= each.at_most for each in made)
    return wrong / trials


def _lengths(tokens: float, steps: float) -> tuple[int, ...]:
    """Acceptance lengths of so many steps that commit so many tokens."""
    each, more = divmod(int(max(tokens, steps)), int(steps))
    return (each + 1,) * more + (each,) * (int(steps) - more)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row per number of contexts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--trials", type=int, default=2000, help="studies per number; half as many families")
    parser.add_argument("--contexts", type=int, nargs="+", default=list(CONTEXTS))
    options = parser.parse_args(arguments)
    print("contexts | interval covers: pass rate | tau | family of 8 claims something: pass rate | tau")
    for contexts in options.contexts:
        held = [coverage(contexts, measure, options.trials) for measure in ("pass rate", "tau")]
        wrong = [family_error(contexts, measure, options.trials // 2) for measure in ("pass rate", "tau")]
        print(f"{contexts} | {' | '.join(f'{share:.1%}' for share in [*held, *wrong])}", flush=True)


if __name__ == "__main__":
    main()
