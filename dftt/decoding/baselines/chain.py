"""The Markov chain of Power Sampling (Karan and Du, arXiv 2510.14901, algorithm 1), whatever proposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Proposed:
    """Tokens drawn from the proposal distribution, with what the acceptance ratio needs of each.

    Args:
        tokens: The tokens.
        log_base: Their log-probabilities under the model itself.
        log_proposal: Their log-probabilities under the proposal distribution.
    """

    tokens: tuple[int, ...]
    log_base: tuple[float, ...]
    log_proposal: tuple[float, ...]

    def upto(self, count: int) -> Proposed:
        """The first `count` tokens."""
        return Proposed(self.tokens[:count], self.log_base[:count], self.log_proposal[:count])

    def then(self, other: Proposed) -> Proposed:
        """These tokens and then the others."""
        return Proposed(
            self.tokens + other.tokens, self.log_base + other.log_base, self.log_proposal + other.log_proposal
        )


@dataclass(frozen=True)
class Sampled:
    """Where the chain ended, and how it got there.

    Args:
        state: The answer.
        accepted: Steps whose proposal was taken.
        steps: All steps.
    """

    state: Proposed
    accepted: int
    steps: int


Propose = Callable[[tuple[int, ...], int], Proposed]  # tokens so far, how many more at most -> a continuation


def power_sample(
    propose: Propose,
    *,
    alpha: float,
    max_new_tokens: int,
    blocks: int,
    steps: int,
    has_ended: Callable[[Sequence[int]], bool],
    random: Random,
) -> Sampled:
    """A state of the chain whose stationary distribution is p ** alpha, after `steps` steps at the end of each block.

    The answer grows block by block; a step cuts it at a place drawn uniformly and proposes another ending of the same
    extent. It is finished where a block's last state has ended.
    """
    state = Proposed((), (), ())
    accepted = count = 0
    for block in range(1, blocks + 1):
        extent = math.ceil(max_new_tokens * block / blocks)
        if extent > len(state.tokens):
            state = state.then(propose(state.tokens, extent - len(state.tokens)))
        for _ in range(steps):
            cut = random.randrange(len(state.tokens))
            start = state.upto(cut)
            other = start.then(propose(start.tokens, extent - cut))
            count += 1
            # 1 - random() lies in (0, 1], which has a logarithm.
            if math.log(1 - random.random()) < log_acceptance(state, other, cut, alpha):
                state = other
                accepted += 1
        if has_ended(state.tokens):
            break
    return Sampled(state, accepted, count)


def log_acceptance(state: Proposed, other: Proposed, cut: int, alpha: float) -> float:
    """Logarithm of the Metropolis-Hastings ratio of going from `state` to `other`, which agree before `cut`.

    [p(other) ** alpha * q(state | other)] / [p(state) ** alpha * q(other | state)], where q draws the cut uniformly and
    then the ending from the proposal distribution. The lengths differ where an answer ends early.
    """
    power = alpha * (sum(other.log_base[cut:]) - sum(state.log_base[cut:]))
    back = sum(state.log_proposal[cut:]) - math.log(len(other.tokens))
    forth = sum(other.log_proposal[cut:]) - math.log(len(state.tokens))
    return power + back - forth
