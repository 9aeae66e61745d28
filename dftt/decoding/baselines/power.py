"""Power Sampling (Karan and Du, arXiv 2510.14901, algorithm 1): answers drawn in proportion to p(answer) ** alpha.

A Markov chain goes from answer to answer; what it proposes comes from lossless speculative decoding at temperature
1 / alpha.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from dftt.decoding.engine import ending_tokens
from dftt.decoding.forced import forced_logits, token_log_probabilities, whole_prefill
from dftt.decoding.generate import Adapted, generate
from dftt.decoding.sampling import sample_key
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, Prefill, Prompt
from dftt.types.methods import PowerSpec


@dataclass(frozen=True)
class Proposed:
    """Tokens drawn from the proposal distribution, with what the acceptance ratio needs of each."""

    tokens: tuple[int, ...]
    log_base: tuple[float, ...]  # their log-probabilities under the model itself
    log_proposal: tuple[float, ...]  # and under the proposal distribution

    def followed_by(self, other: Proposed, *, cut: int) -> Proposed:
        """The first `cut` tokens and then the others."""
        return Proposed(
            self.tokens[:cut] + other.tokens,
            self.log_base[:cut] + other.log_base,
            self.log_proposal[:cut] + other.log_proposal,
        )


Propose = Callable[[tuple[int, ...], int], Proposed]  # tokens so far, how many more at most -> a continuation


def generate_power(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    power: PowerSpec,
    *,
    adaptation: Adapted = None,
    prefill: Prefill | None = None,
    sample_name: str = "",
) -> Generation:
    """An answer drawn from about p(answer) ** power.alpha; steps and passes of all proposals are counted.

    Args:
        spec: max_new_tokens, seed, block_size and end-of-sequence tokens; its temperature, top_p and top_k have no
            meaning here, and its mode is speculative.
        adaptation: The draft proposes under this adapter; it changes the speed only.
        prefill: A prefill of the prompt or of its first tokens.
        sample_name: Names the sample; with the seed it decides the answer.

    Raises:
        ValueError: If the prompt and its answer do not fit the target's window.
    """
    begun = time.perf_counter()
    prefill = whole_prefill(pair, prompt, prefill)
    proposing = replace(spec, mode="speculative", temperature=1 / power.alpha, top_p=1.0, top_k=0)
    parts: list[Generation] = []

    def propose(tokens: tuple[int, ...], count: int) -> Proposed:
        before = Prompt(prompt.input_ids + tokens)
        part = generate(
            pair,
            before,
            replace(proposing, max_new_tokens=count),
            adaptation=adaptation,
            prefill=prefill,
            sample_names=[f"{sample_name}/{len(parts)}"],
        )
        parts.append(part)
        logits = forced_logits(pair, before, part.token_ids, prefill=prefill).target
        base = token_log_probabilities(logits, part.token_ids)
        proposal = token_log_probabilities(logits, part.token_ids, temperature=1 / power.alpha)
        return Proposed(part.token_ids, tuple(base.tolist()), tuple(proposal.tolist()))

    ends = ending_tokens(spec, pair.target)
    tokens = power_sample(
        propose,
        alpha=power.alpha,
        max_new_tokens=spec.max_new_tokens,
        blocks=power.blocks,
        steps=power.steps,
        has_ended=lambda tokens: not ends.isdisjoint(tokens[-1:]),
        random=Random(sample_key(spec.seed, sample_name)),
    ).tokens
    return Generation(
        text=pair.target.tokenizer.decode(list(tokens), skip_special_tokens=True),
        token_ids=tokens,
        acceptance_lengths=tuple(length for part in parts for length in part.acceptance_lengths),
        finish_reason="length" if ends.isdisjoint(tokens[-1:]) else "eos",
        target_calls=sum(part.target_calls + 1 for part in parts),  # one pass more: the proposal's probabilities
        seconds=time.perf_counter() - begun,
    )


def power_sample(
    propose: Propose,
    *,
    alpha: float,
    max_new_tokens: int,
    blocks: int,
    steps: int,
    has_ended: Callable[[Sequence[int]], bool],
    random: Random,
) -> Proposed:
    """A state of the chain whose stationary distribution is p ** alpha, after `steps` steps at the end of each block.

    The answer grows block by block; a step cuts it at a place drawn uniformly and proposes another ending of the same
    extent. It is finished where a block's last state has ended.
    """
    state = Proposed((), (), ())
    for block in range(1, blocks + 1):
        extent = math.ceil(max_new_tokens * block / blocks)
        if extent > len(state.tokens):
            state = state.followed_by(propose(state.tokens, extent - len(state.tokens)), cut=len(state.tokens))
        for _ in range(steps):
            cut = random.randrange(len(state.tokens))
            other = state.followed_by(propose(state.tokens[:cut], extent - cut), cut=cut)
            # 1 - random() lies in (0, 1], which has a logarithm.
            if math.log(1 - random.random()) < log_acceptance(state, other, cut, alpha):
                state = other
        if has_ended(state.tokens):
            break
    return state


def log_acceptance(state: Proposed, other: Proposed, cut: int, alpha: float) -> float:
    """Logarithm of the Metropolis-Hastings ratio of going from `state` to `other`, which agree before `cut`.

    [p(other) ** alpha * q(state | other)] / [p(state) ** alpha * q(other | state)], where q draws the cut uniformly and
    then the ending from the proposal distribution. The lengths differ where an answer ends early.
    """
    power = alpha * (sum(other.log_base[cut:]) - sum(state.log_base[cut:]))
    back = sum(state.log_proposal[cut:]) - math.log(len(other.tokens))
    forth = sum(other.log_proposal[cut:]) - math.log(len(state.tokens))
    return power + back - forth
