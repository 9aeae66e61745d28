"""Several threads on one pair: everyone gets what he would get alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.models.lora import applied
from dftt.types import DecodingSpec, TTTSpec
from tests.fakes import random_prompt

PROMPTS = [random_prompt(length, seed=length) for length in (9, 14, 20, 31)]
SPEC = DecodingSpec(mode="guided", alpha=0.7, max_new_tokens=12, ignore_eos=True)


def test_features_belong_to_the_pass_that_asked_for_them(tiny_pair) -> None:
    """A second thread's pass runs while the first one is in its own: hooks on shared layers gave it the other's."""
    target = tiny_pair("qwen3").target
    wanted = [target.prefill(prompt.input_ids, tap_ids=(1, 3)).features for prompt in PROMPTS[:2]]
    meanwhile: list[torch.Tensor] = []

    def read_the_other(*_: object) -> None:
        handle.remove()
        thread = threading.Thread(
            target=lambda: meanwhile.append(target.prefill(PROMPTS[1].input_ids, tap_ids=(1, 3)).features)
        )
        thread.start()
        thread.join()

    handle = target._layers[2].register_forward_pre_hook(read_the_other)  # after the first tap, before the second
    got = target.prefill(PROMPTS[0].input_ids, tap_ids=(1, 3)).features
    assert torch.equal(meanwhile[0], wanted[1])
    assert torch.equal(got, wanted[0])


def test_threads_on_one_pair_get_the_answers_they_get_alone(good_pair) -> None:
    pair, _ = good_pair("qwen3")
    adaptations = [ttt_adapt(pair, PROMPTS[3], TTTSpec(steps=6, lr=2e-2)), None]
    jobs = [(prompt, adaptation) for prompt in PROMPTS for adaptation in adaptations]
    alone = [generate(pair, prompt, SPEC, adaptation=adaptation).token_ids for prompt, adaptation in jobs]
    assert len(set(alone)) == len(jobs)  # each adapter gives answers of its own
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: generate(pair, job[0], SPEC, adaptation=job[1]).token_ids, jobs))
    assert together == alone


def test_a_thread_waits_while_another_adapts_the_draft(good_pair) -> None:
    pair, prompt = good_pair("qwen3")
    adaptation = ttt_adapt(pair, PROMPTS[3], TTTSpec(steps=6, lr=2e-2))
    spec = replace(SPEC, max_new_tokens=4)
    with ThreadPoolExecutor(1) as pool:
        with applied(pair.draft, adaptation.adapter):
            other = pool.submit(generate, pair, prompt, spec)
            thread_ended = threading.Event()
            other.add_done_callback(lambda _: thread_ended.set())
            assert not thread_ended.wait(0.3)
        assert other.result(60).token_ids == generate(pair, prompt, spec).token_ids
