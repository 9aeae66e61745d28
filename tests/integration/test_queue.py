"""Requests that share rows one after another, against each of them decoded alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dftt.adaptation.ttt import Adaptation, ttt_adapt
from dftt.decoding.captured import plain_cycle
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.generate import generate, resolve_sizes
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.queue import decode_queue
from dftt.decoding.sampling import sample_key
from dftt.decoding.schedule import BlockScheduler
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, GuidanceSpec, Prompt, TTTSpec
from dftt_tools.synthesise import respond
from tests.fakes import ScriptedDrafter, random_prompt

LENGTHS = (9, 2, 31, 14, 1, 23, 6)
PROMPTS = [random_prompt(length, seed=length) for length in LENGTHS]
SPEC = DecodingSpec(max_new_tokens=12, ignore_eos=True)
MODES = {
    "target": replace(SPEC, mode="target"),
    "speculative": SPEC,
    "sampled": replace(SPEC, temperature=0.8, top_p=0.9),
    "guided": replace(SPEC, mode="guided", alpha=0.4),
    "guided sampled": replace(SPEC, mode="guided", alpha=0.4, temperature=0.8, verify_size=3),
}


def ending_early(pair: Pair, spec: DecodingSpec, places: Sequence[int] = (0, 3, 7, 9)) -> DecodingSpec:
    """The spec with end tokens that let requests end at different times, the first of them at once."""
    free = [generate(pair, prompt, spec).token_ids for prompt in PROMPTS[: len(places)]]
    ends = tuple(tokens[place] for tokens, place in zip(free, places, strict=True))
    return replace(spec, ignore_eos=False, eos_token_ids=ends)


def told(answer: Generation) -> tuple[Any, ...]:
    return answer.token_ids, answer.acceptance_lengths, answer.finish_reason, answer.target_calls


def assert_as_alone(pair: Pair, spec: DecodingSpec, *, prompts: Sequence[Prompt] = PROMPTS, **options: Any) -> None:
    alone = [told(generate(pair, prompt, spec)) for prompt in prompts]
    assert [told(answer) for answer in generate(pair, prompts, spec, **options)] == alone


@pytest.mark.parametrize("name", MODES)
def test_seven_requests_in_three_rows_are_decoded_as_alone(good_pair: Callable[..., Any], name: str) -> None:
    pair, known = good_pair("qwen3")
    spec = ending_early(pair, MODES[name])
    prompts = [*PROMPTS[:4], known, *PROMPTS[4:]]
    lengths = {len(answer.token_ids) for answer in generate(pair, prompts, spec)}
    assert 1 in lengths  # one ends at its first token
    assert len(lengths) > 2
    assert_as_alone(pair, spec, prompts=prompts, rows=3)


@pytest.mark.parametrize("family", ["llama", "qwen3-sliding", "qwen3-moe"])
def test_requests_are_decoded_as_alone_in_every_family(tiny_pair, family: str) -> None:
    pair = tiny_pair(family)
    assert_as_alone(pair, ending_early(pair, MODES["guided"]), rows=3)


@pytest.mark.parametrize("rows", [1, 2, 7, 50])
def test_any_number_of_rows_gives_the_same_answers(good_pair, rows: int) -> None:
    pair, _ = good_pair("qwen3")
    assert_as_alone(pair, ending_early(pair, SPEC), rows=rows)


def test_requests_finished_at_once_are_decoded_as_alone(good_pair) -> None:
    pair, _ = good_pair("qwen3")
    assert_as_alone(pair, replace(SPEC, max_new_tokens=1), rows=2)


@settings(max_examples=6)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(1, 4), st.integers(1, 12), st.booleans())
def test_requests_of_any_lengths_are_decoded_as_alone(
    tiny_pair, lengths: list[int], rows: int, count: int, sampled: bool
) -> None:
    spec = replace(SPEC, max_new_tokens=count, temperature=float(sampled), ignore_eos=False, eos_token_ids=(7, 40, 199))
    prompts = [random_prompt(length, seed=number) for number, length in enumerate(lengths)]
    assert_as_alone(tiny_pair("qwen3"), spec, prompts=prompts, rows=rows)


def test_prefills_of_any_length_give_the_same_answers(good_pair) -> None:
    pair, _ = good_pair("qwen3")
    prompts = [prompt for prompt in PROMPTS if len(prompt) > 4]
    spec = ending_early(pair, SPEC)
    for cut in (0, 4):
        prefills = [pair.prefill(Prompt(prompt.input_ids[: len(prompt) - cut])) for prompt in prompts]
        assert_as_alone(pair, spec, prompts=prompts, rows=2, prefill=prefills)


@pytest.fixture(scope="module")
def adapted(good_pair: Callable[..., Any]) -> list[Adaptation]:
    pair, _ = good_pair("qwen3")
    return [ttt_adapt(pair, random_prompt(30, seed=seed), TTTSpec(steps=8, lr=2e-2, rank=4)) for seed in (5, 6)]


@pytest.mark.parametrize("rule", ["own_minus_generic", "cad", "contrastive", "dola", "noise_norm"])
def test_what_sources_keep_of_a_row_is_replaced_too(good_pair, tiny_pair, adapted, rule: str) -> None:
    pair, _ = good_pair("qwen3")
    questions = [Prompt(prompt.input_ids[-max(1, len(prompt) // 3) :]) for prompt in PROMPTS]
    materials = Materials({"generic": adapted[0].adapter}, questions, tiny_pair("llama").target)
    spec = replace(SPEC, mode="guided", max_new_tokens=7, guidance=GuidanceSpec(rule, alpha=0.5))
    alone = [
        told(generate(pair, prompt, spec, materials=replace(materials, without_context=[question])))
        for prompt, question in zip(PROMPTS, questions, strict=True)
    ]
    for rows in (1, 3):
        assert [told(each) for each in generate(pair, PROMPTS, spec, materials=materials, rows=rows)] == alone


def test_requests_under_different_adapters_are_decoded_as_alone(good_pair, adapted) -> None:
    pair, _ = good_pair("qwen3")
    under = [None, adapted[0], adapted[1], adapted[0], None, adapted[1], adapted[0]]
    spec = replace(SPEC, mode="guided", alpha=0.5)
    alone = [told(generate(pair, prompt, spec, adaptation=each)) for prompt, each in zip(PROMPTS, under, strict=True)]
    assert [told(each) for each in generate(pair, PROMPTS, spec, adaptation=under, rows=2)] == alone
    assert alone != [told(generate(pair, prompt, spec)) for prompt in PROMPTS]


def test_changing_block_sizes_are_lossless_in_a_queue(good_pair) -> None:
    pair, known = good_pair("qwen3")
    scheduler = BlockScheduler({1: {1: 1.0, 2: 1.1, 3: 1.2, 4: 1.3}}, probing=0.3)
    prompts = [known, *PROMPTS]
    answers = generate(pair, prompts, SPEC, scheduler=scheduler, rows=3)
    plain = generate(pair, prompts, replace(SPEC, mode="target"))
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in plain]


def test_streamed_pieces_add_up_to_each_answer(good_pair) -> None:
    pair, _ = good_pair("qwen3")
    pieces: dict[int, list[int]] = {number: [] for number in range(len(PROMPTS))}
    spec = ending_early(pair, SPEC)
    answers = generate(pair, PROMPTS, spec, rows=2, on_tokens=lambda number, new: pieces[number].extend(new))
    assert [tuple(pieces[number]) for number in range(len(PROMPTS))] == [answer.token_ids for answer in answers]


def storage(engine: Engine) -> list[int]:
    """Addresses of all that a captured cycle reads."""
    caches = [engine._cache] + ([engine.drafter._cache] if isinstance(engine.drafter, DFlashDrafter) else [])
    tensors = [engine._tokens, engine._keys]
    tensors += [tensor for cache in caches for layer in cache._row_layers for tensor in layer.written()]
    return [tensor.data_ptr() for tensor in tensors]


@pytest.mark.parametrize("name", MODES)
def test_captured_cycles_stay_valid(good_pair: Callable[..., Any], name: str) -> None:
    """One cycle is captured for all requests, and what it reads stays where it is."""
    pair, _ = good_pair("qwen3", dtype="float64")
    spec = resolve_sizes(ending_early(pair, MODES[name]), pair.draft.config.block_size)
    captured: list[int] = []

    def capture(cycle: Any, rows: int, device: torch.device) -> Any:
        captured.append(rows)
        return plain_cycle(cycle, rows, device)

    def start(numbers: Sequence[int], *, longest_prompt: int = 0) -> Engine:
        drafter = None if spec.mode == "target" else DFlashDrafter(pair.draft, pair.target)
        ids = [PROMPTS[number].input_ids for number in numbers]
        keys = [sample_key(spec.seed, str(number)) for number in numbers]
        none = [None] * len(ids)
        return Engine(pair.target, drafter, spec, ids, none, keys, capture=capture, longest_prompt=longest_prompt)

    engine = start([0, 1, 2], longest_prompt=max(LENGTHS))
    before = storage(engine)
    found = {each.request: tuple(each.token_ids) for each in decode_queue(engine, range(7), start)}
    assert captured == [3]
    assert storage(engine) == before
    names = [str(number) for number in range(7)]
    alone = [generate(pair, prompt, spec, sample_names=[name]) for prompt, name in zip(PROMPTS, names, strict=True)]
    assert [found[number] for number in range(7)] == [answer.token_ids for answer in alone]


def test_the_slot_of_a_row_that_still_decodes_is_refused(tiny_pair) -> None:
    target = tiny_pair("qwen3").target
    make = lambda prompt: Engine(target, None, MODES["target"], [prompt.input_ids], [None], [0])  # noqa: E731
    with pytest.raises(ValueError, match=r"slots \[0\] are in use"):
        make(PROMPTS[0]).refill([0], make(PROMPTS[1]))


def test_a_prompt_longer_than_the_engines_room_is_refused(tiny_pair) -> None:
    target, spec = tiny_pair("qwen3").target, replace(MODES["target"], max_new_tokens=1)
    make = lambda prompt: Engine(target, None, spec, [prompt.input_ids], [None], [0])  # noqa: E731
    with pytest.raises(ValueError, match="a prompt of 31 tokens, and the engine was made for at most 9"):
        make(PROMPTS[0]).refill([0], make(PROMPTS[2]))


def test_rows_and_a_given_drafter_are_refused_together(tiny_pair) -> None:
    with pytest.raises(ValueError, match="leave out rows"):
        generate(tiny_pair("qwen3"), PROMPTS, SPEC, rows=2, drafter=ScriptedDrafter([0] * 50, 1, [0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": -1}, "rows must be >= 1"),
        ({"adaptation": [None]}, "1 adaptations given for 7 prompts"),
        ({"materials": Materials(without_context=PROMPTS[:2])}, "2 prompts without context given for 7 prompts"),
    ],
)
def test_what_does_not_fit_the_prompts_is_refused(tiny_pair, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(tiny_pair("qwen3"), PROMPTS, SPEC, **options)


@pytest.mark.parametrize("cache_tokens", [10**6, 90])  # all rows that are asked for, or two to four by length
def test_responses_are_those_of_each_prompt_alone(tiny_pair, monkeypatch, cache_tokens: int) -> None:
    pair = tiny_pair("qwen3")
    spec = ending_early(pair, MODES["target"])
    monkeypatch.setattr("dftt_tools.synthesise.CACHE_TOKENS", cache_tokens)
    found = dict(respond(pair.target, [prompt.input_ids for prompt in PROMPTS], spec, rows=5, name="x"))
    alone = [generate(pair, prompt, spec, sample_names=[f"x/{number}"]) for number, prompt in enumerate(PROMPTS)]
    assert [tuple(found[number]) for number in range(7)] == [answer.token_ids for answer in alone]


def test_responses_go_on_in_fewer_rows_where_memory_runs_out(tiny_pair, monkeypatch, caplog) -> None:
    """The first cycle goes well, so that some requests have been answered; no answer is lost or given twice."""
    pair, step, cycles = tiny_pair("qwen3"), Engine.step, []
    spec = ending_early(pair, MODES["target"])

    def failing(engine: Engine) -> None:
        cycles.append(len(engine.rows))
        if len(cycles) > 3 and len(engine.rows) > 2:
            raise torch.OutOfMemoryError
        step(engine)

    monkeypatch.setattr(Engine, "step", failing)
    found = list(respond(pair.target, [prompt.input_ids for prompt in PROMPTS], spec, rows=5, name="x"))
    monkeypatch.setattr(Engine, "step", step)
    assert "out of memory with 5 rows; going on with 2" in caplog.text
    assert max(cycles) == 5
    assert cycles[-1] == 2
    assert sorted(number for number, _ in found) == list(range(7))
    for number, tokens in found:
        assert tuple(tokens) == generate(pair, PROMPTS[number], spec, sample_names=[f"x/{number}"]).token_ids
