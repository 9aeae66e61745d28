"""Whatever asks the draft, it sees as much of its context as `draft_window` and `draft_sinks` say.

A window of n equals a draft all of whose layers slide by n, and sinks that hold the whole context equal no window.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import dftt
from dftt.adaptation.online import learning
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.baselines.rerank import mean_log_probability
from dftt.decoding.forced import forced_logits
from dftt.decoding.generate import generate
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.replay import replay
from dftt.models.draft import FULL, SLIDING
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, GuidanceSpec, TTTSpec
from tests.fakes import random_prompt

WINDOW = {"draft_window": 5}
HELD_BY_SINKS = {"draft_window": 5, "draft_sinks": 1000}
PROMPT = random_prompt(40, seed=2)
ANSWER = tuple(range(3, 11))
SPEC = DecodingSpec(max_new_tokens=12, temperature=3.0, ignore_eos=True, seed=1)
TTT = TTTSpec(steps=3, lr=0.02, anchors=4)
Said = Sequence[float]


def along_a_given_text(source: str, pair: Pair, spec: DecodingSpec) -> Said:
    """What is drawn from where a source takes the target's place."""
    # At a rate of nothing both pairs learn the same.
    adapter = ttt_adapt(pair, random_prompt(20, seed=9), replace(TTT, lr=1e-12)).adapter
    rule, materials = GuidanceSpec(alpha=1.0, numerator=source), Materials({"other": adapter, "generic": adapter})
    forced = forced_logits(pair, PROMPT, ANSWER, [rule], spec, materials=materials)
    return forced.guided[0].flatten().tolist()


def rerank_score(pair: Pair, spec: DecodingSpec) -> Said:
    sample = replace(generate(pair, PROMPT, spec), token_ids=ANSWER)
    prefill = pair.prefill(PROMPT)
    return [mean_log_probability(pair, PROMPT, sample, by="draft", spec=spec, adaptation=None, prefill=prefill)]


def of_a_trace(pair: Pair, spec: DecodingSpec) -> Said:
    """What the draft says along an answer of the target, one token at a time."""
    told = replace(generate(pair, PROMPT, replace(SPEC, mode="target")), acceptance_lengths=(1,) * 11)
    return [token.draft.log_prob for token in replay(pair, PROMPT, spec, told) if token.draft is not None]


def accepted_while_learning(pair: Pair, spec: DecodingSpec) -> Said:
    with learning(pair, replace(TTT, learns_from="generation", every=4, lr=1e-12), answer_tokens=48) as learner:
        return generate(pair, PROMPT, replace(spec, max_new_tokens=48), learner=learner).acceptance_lengths


def accepted(pair: Pair, spec: DecodingSpec) -> Said:
    return generate(pair, PROMPT, replace(spec, max_new_tokens=48)).acceptance_lengths


WAYS: dict[str, Callable[[Pair, DecodingSpec], Said]] = {
    **{source: partial(along_a_given_text, source) for source in ("draft", "base", "other", "generic")},
    "rerank": rerank_score,
    "trace": of_a_trace,
    "learning": accepted_while_learning,
    "speculative": accepted,
}


@pytest.mark.parametrize("way", WAYS)
def test_all_that_asks_the_draft_keeps_its_window(tiny_pair: Callable[..., Pair], way: str) -> None:
    sliding = tiny_pair("qwen3", dtype="float64", layer_types=(SLIDING, SLIDING), sliding_window=5)
    full = tiny_pair("qwen3", dtype="float64", layer_types=(FULL, FULL))
    ask = WAYS[way]
    wanted, unhindered = ask(sliding, SPEC), ask(full, SPEC)
    assert ask(full, replace(SPEC, **WINDOW)) == pytest.approx(wanted)
    assert ask(full, replace(SPEC, **HELD_BY_SINKS)) == pytest.approx(unhindered)
    assert wanted != pytest.approx(unhindered)


def test_drafters_are_made_from_a_spec_in_one_place() -> None:
    """Or beside another one, as much of whose context they see."""
    package = Path(dftt.__file__).parent
    makers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DFlashDrafter"
    }
    assert makers == {"decoding/drafter.py"}  # `beside`; `make_draft` is handed the class
