"""What an observer of the engine is shown, in every mode; a recorder is one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dftt.decoding.drafters import make_drafters
from dftt.decoding.engine import Engine, Observer
from dftt.decoding.generate import generate, resolve_sizes
from dftt.decoding.recording import Recorder
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt
from tests.fakes import random_prompt

PROMPT = random_prompt(12)
MODES = {
    "target": DecodingSpec("target", 20, ignore_eos=True),
    "speculative": DecodingSpec("speculative", 20, ignore_eos=True),
    "hybrid": DecodingSpec("speculative", 20, ignore_eos=True, drafter="hybrid"),
    "guided": DecodingSpec("guided", 20, ignore_eos=True, alpha=0.5),
}


def decode(pair: Pair, spec: DecodingSpec, observer: Observer) -> Engine:
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    drafter, second = make_drafters(pair, spec)
    engine = Engine(pair.target, drafter, spec, [PROMPT.input_ids], [None], [0], second=second, observer=observer)
    while engine.active:
        engine.step()
    return engine


@pytest.mark.parametrize("name", MODES)
def test_a_recorder_holds_what_a_prefill_of_the_answer_gives(tiny_pair: Callable[..., Pair], name: str) -> None:
    pair = tiny_pair("qwen3", dtype="float64")
    recorder = Recorder(pair, 1, 60)
    engine = decode(pair, MODES[name], recorder)
    text = (*PROMPT.input_ids, *engine.new_tokens(0))[:-1]  # the target has yet to read the last token
    whole = pair.prefill(Prompt(text))
    torch.testing.assert_close(recorder.hidden[0, : len(text)], whole.hidden)
    torch.testing.assert_close(recorder.features[0, : len(text)], whole.features)


@pytest.mark.parametrize("name", MODES)
def test_an_observer_changes_no_token_and_sees_every_cycle(tiny_pair: Callable[..., Pair], name: str) -> None:
    class Counting(Observer):
        draws = cycles = 0

        def before_draw(self, target: Tensor, guided: Tensor) -> None:
            assert target.shape == guided.shape
            self.draws += 1

        def after_cycle(self, engine: Engine) -> None:
            self.cycles += 1

    pair, counting = tiny_pair("qwen3"), Counting()
    engine = decode(pair, MODES[name], counting)
    assert engine.new_tokens(0) == list(generate(pair, PROMPT, MODES[name]).token_ids)
    assert counting.cycles == len(engine.rows[0].acceptance_lengths)
    assert counting.draws == counting.cycles + 1  # and the token after the prompt
