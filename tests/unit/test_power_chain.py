"""Power Sampling on a distribution small enough to write down."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from random import Random

import pytest

from dftt.decoding.baselines.power import Proposed, log_acceptance, power_sample
from dftt.types.methods import PowerSpec, RerankSpec

# Next-token probabilities by what came before; token 2 ends an answer.
FIRST = {0: 0.6, 1: 0.4}
SECOND = {0: {0: 0.5, 1: 0.5}, 1: {0: 0.9, 1: 0.1}}
THIRD = {0: 0.7, 1: 0.3}
END = 2


def following(tokens: tuple[int, ...]) -> dict[int, float]:
    return FIRST if not tokens else SECOND[tokens[0]] if len(tokens) == 1 else THIRD


def ending(tokens: tuple[int, ...]) -> dict[int, float]:
    """Another model, whose answers end early: after a 0 with probability 0.3, from the second token on."""
    if not tokens:
        return {0: 0.5, 1: 0.5}
    return {0: 0.3, 1: 0.4, END: 0.3} if tokens[-1] == 0 else {0: 0.6, 1: 0.4}


def proposer(model, alpha: float, random: Random):
    """Draws from the model at temperature 1 / alpha."""

    def propose(tokens: tuple[int, ...], count: int) -> Proposed:
        drawn, base, proposal = list(tokens), [], []
        for _ in range(count):
            probabilities = model(tuple(drawn))
            powers = {token: p**alpha for token, p in probabilities.items()}
            token = random.choices(list(powers), list(powers.values()))[0]
            drawn.append(token)
            base.append(math.log(probabilities[token]))
            proposal.append(math.log(powers[token] / sum(powers.values())))
            if token == END:
                break
        return Proposed(tuple(drawn[len(tokens) :]), tuple(base), tuple(proposal))

    return propose


def described(model, tokens: tuple[int, ...], alpha: float) -> Proposed:
    """An answer with its log-probabilities."""
    base, proposal = [], []
    for end, token in enumerate(tokens):
        probabilities = model(tokens[:end])
        base.append(math.log(probabilities[token]))
        proposal.append(alpha * base[-1] - math.log(sum(p**alpha for p in probabilities.values())))
    return Proposed(tokens, tuple(base), tuple(proposal))


def answers(model, length: int) -> dict[tuple[int, ...], float]:
    """Probability of every answer of at most `length` tokens."""
    found: dict[tuple[int, ...], float] = {}
    open_answers = {(): 1.0}
    for _ in range(length):
        longer = {(*tokens, token): p * q for tokens, p in open_answers.items() for token, q in model(tokens).items()}
        found |= {tokens: p for tokens, p in longer.items() if tokens[-1] == END}
        open_answers = {tokens: p for tokens, p in longer.items() if tokens[-1] != END}
    return found | open_answers


def sample_many(model, alpha: float, *, steps: int, count: int, blocks: int = 1) -> Counter[tuple[int, ...]]:
    random = Random(1)
    propose = proposer(model, alpha, random)
    ended = lambda tokens: bool(tokens) and tokens[-1] == END  # noqa: E731
    return Counter(
        power_sample(
            propose, alpha=alpha, max_new_tokens=3, blocks=blocks, steps=steps, has_ended=ended, random=random
        ).tokens
        for _ in range(count)
    )


def distance(seen: Counter[tuple[int, ...]], wanted: dict[tuple[int, ...], float]) -> float:
    """Total variation distance of what was seen from weights that need not sum to 1."""
    total = sum(wanted.values())
    keys = {*seen, *wanted}
    return 0.5 * sum(abs(seen[key] / seen.total() - wanted.get(key, 0.0) / total) for key in keys)


@pytest.mark.parametrize("model", [following, ending], ids=["of one length", "ending early"])
def test_the_chain_draws_by_the_power_of_the_probability(model) -> None:
    wanted = {tokens: p**2 for tokens, p in answers(model, 3).items()}
    assert distance(sample_many(model, 2.0, steps=25, count=2500), wanted) < 0.06


@pytest.mark.parametrize("model", [following, ending], ids=["of one length", "ending early"])
def test_every_step_is_in_detailed_balance(model) -> None:
    """As much goes from one answer to another as comes back, exactly: for each pair and each place they can be cut."""
    alpha, all_answers = 4.0, answers(model, 3)
    states = {tokens: described(model, tokens, alpha) for tokens in all_answers}

    def flow(here: tuple[int, ...], there: tuple[int, ...], cut: int) -> float:
        proposed = math.exp(sum(states[there].log_proposal[cut:])) / len(here)
        accepted = min(1.0, math.exp(log_acceptance(states[here], states[there], cut, alpha)))
        return all_answers[here] ** alpha * proposed * accepted

    pairs = [
        (here, there, cut)
        for here, there in itertools.combinations(states, 2)
        for cut in range(min(len(here), len(there)))
        if here[:cut] == there[:cut]
    ]
    assert len(pairs) > 28
    for here, there, cut in pairs:
        assert flow(here, there, cut) == pytest.approx(flow(there, here, cut), rel=1e-9)


def test_a_low_temperature_alone_does_not() -> None:
    """The paper's point: p ** alpha looks ahead, a temperature does not. Here they prefer different first tokens."""
    wanted = {tokens: p**4 for tokens, p in answers(following, 3).items()}
    first = [sum(p for tokens, p in wanted.items() if tokens[0] == token) for token in (0, 1)]
    assert first[1] > first[0]
    cold = sample_many(following, 4.0, steps=0, count=2000)
    assert distance(cold, wanted) > 0.3


def test_an_answer_grows_block_by_block() -> None:
    extents: list[tuple[int, int]] = []
    propose = proposer(following, 4.0, Random(0))

    def spy(tokens: tuple[int, ...], count: int) -> Proposed:
        extents.append((len(tokens), count))
        return propose(tokens, count)

    sampled = power_sample(
        spy, alpha=4.0, max_new_tokens=3, blocks=3, steps=2, has_ended=lambda _: False, random=Random(0)
    )
    assert [first for first, _ in itertools.groupby(sum(each) for each in extents)] == [1, 2, 3]
    assert len(extents) == 3 * (1 + 2)
    assert len(sampled.tokens) == 3


def test_the_acceptance_ratio_by_hand() -> None:
    """alpha 2, from (0, 0) to (0, 1), cut after the first token; proposals at temperature 1/2."""
    state = Proposed((0, 0), (math.log(0.6), math.log(0.2)), (math.log(0.7), math.log(0.06)))
    other = Proposed((0, 1), (math.log(0.6), math.log(0.8)), (math.log(0.7), math.log(0.94)))
    ratio = (0.8**2 * 0.06) / (0.2**2 * 0.94)
    assert log_acceptance(state, other, 1, 2.0) == pytest.approx(math.log(ratio))
    assert log_acceptance(other, state, 1, 2.0) == pytest.approx(-math.log(ratio))


def test_a_shorter_answer_is_cut_at_each_place_more_often() -> None:
    state = Proposed((0, 0), (0.0, 0.0), (0.0, 0.0))
    other = Proposed((2,), (0.0,), (0.0,))
    assert log_acceptance(state, other, 0, 4.0) == pytest.approx(math.log(2 / 1))


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (PowerSpec, {"alpha": 0.5}, r"power\.alpha must be >= 1, got 0\.5"),
        (PowerSpec, {"blocks": 0}, r"power\.blocks must be >= 1, got 0"),
        (PowerSpec, {"steps": -1}, r"power\.steps must be >= 0, got -1"),
        (RerankSpec, {"by": "me"}, r"rerank\.by: unknown 'me'; choose from target, draft"),
        (RerankSpec, {"samples": 1}, r"rerank\.samples must be >= 2, got 1"),
    ],
)
def test_a_bad_setting_is_named(spec, settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(**settings)
