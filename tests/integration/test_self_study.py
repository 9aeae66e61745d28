"""The target writes about a context, and the draft learns from that: against prefills, and the layout of one text."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dftt.adaptation.lessons import Lessons
from dftt.adaptation.losses import BlockBatch, block_loss, run_blocks, slot_weights
from dftt.adaptation.self_study import Study, study_instructions, turn_around, write_study
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.decoding.sampling import sample_key
from dftt.models.draft import FULL, SLIDING
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt, TTTSpec
from tests.fakes import random_prompt

ROOT = Path(__file__).resolve().parents[2]
SPEC = TTTSpec(
    steps=6, warmup=1, anchors=12, learns_from="self_study", study_samples=5, study_tokens=14, study_temperature=1.0
)
CONTEXT = random_prompt(30, seed=4)


@pytest.fixture(params=[False, True], ids=["full", "sliding"])
def pair(request: pytest.FixtureRequest, tiny_pair: Callable[..., Pair]) -> Pair:
    """A tiny Qwen3 pair, its draft with full attention or with a sliding layer."""
    sliding = {"layer_types": (FULL, SLIDING), "sliding_window": 9}
    return tiny_pair("qwen3", dtype="float64", **(sliding if request.param else {}))


@pytest.fixture
def study(pair: Pair) -> Study:
    return write_study(pair, pair.prefill(CONTEXT), len(CONTEXT), SPEC)


def text_of(study: Study, row: int) -> tuple[int, ...]:
    """The tokens of a text that the target has read."""
    return tuple(study.texts.token_ids[row, : int(study.texts.lengths[row])].tolist())


def row_of(batch: BlockBatch, block: int, study: Study) -> int:
    """Which of the written texts a block opens in, told by the features that it may see."""
    start = int(batch.text_starts[0, block]) - len(CONTEXT)
    seen = batch.texts[0, start : start + study.texts.features.shape[1]]
    return next(row for row, own in enumerate(study.texts.features) if torch.equal(own, seen))


def test_texts_are_what_generate_draws(pair: Pair, study: Study) -> None:
    _, tail = turn_around(pair.target.tokenizer)
    instructions = study_instructions()
    decoding = DecodingSpec("target", SPEC.study_tokens, temperature=1.0)
    for row, answer in enumerate(study.answers()):
        asked = tuple(pair.target.tokenizer("\n\n" + instructions[row] + tail, add_special_tokens=False).input_ids)
        prompt = Prompt(CONTEXT.input_ids + asked)
        alone = generate(pair, prompt, decoding, sample_names=[f"self-study {row}"])
        assert alone.token_ids == answer


def test_features_are_those_of_a_prefill(pair: Pair, study: Study) -> None:
    for row in range(len(study.texts)):
        text = text_of(study, row)
        whole = pair.prefill(Prompt(CONTEXT.input_ids + text))
        torch.testing.assert_close(study.texts.features[row, : len(text)], whole.features[len(CONTEXT) :])
        torch.testing.assert_close(study.texts.hidden[row, : len(text)], whole.hidden[len(CONTEXT) :])


def test_a_study_batch_is_each_text_alone(pair: Pair, study: Study) -> None:
    """The loss of blocks of several texts over one context is that of each text behind its own copy of the context."""
    lessons = Lessons(pair.draft, pair.prefill(CONTEXT), len(CONTEXT), SPEC, study)
    size, weights = pair.draft.config.block_size, slot_weights(pair.draft.config.block_size)
    for step in range(3):
        batch = lessons.batch(step)
        total, weight = 0.0, 0.0
        for block in range(batch.anchors.shape[1]):
            row = row_of(batch, block, study)
            anchor = int(batch.anchors[0, block])
            ids = (*CONTEXT.input_ids, *text_of(study, row), study.answers()[row][-1])
            assert len(CONTEXT) + int(study.texts.starts[row]) <= anchor < len(ids) - 1
            whole = pair.prefill(Prompt(ids[:-1]))
            with torch.no_grad():
                hidden = run_blocks(
                    pair.draft,
                    pair.target,
                    features=whole.features[None],
                    anchors=torch.tensor([[anchor]]),
                    anchor_ids=torch.tensor([[ids[anchor]]]),
                )[0, 0]
                for slot in range(1, min(size, len(ids) - anchor)):
                    draft = pair.target.head(hidden[slot]).log_softmax(-1)
                    teacher = pair.target.head(whole.hidden[anchor + slot - 1]).log_softmax(-1)
                    total += float(weights[slot - 1] * (teacher.exp() * (teacher - draft)).sum())
                    weight += float(weights[slot - 1])
        assert block_loss(pair.draft, pair.target, batch, loss="kl").loss.item() == pytest.approx(
            total / weight, rel=1e-4
        )


def test_another_text_changes_no_block(pair: Pair, study: Study) -> None:
    batch = Lessons(pair.draft, pair.prefill(CONTEXT), len(CONTEXT), SPEC, study).batch(0)
    before = block_loss(pair.draft, pair.target, batch, loss="kl").correct
    first = batch.text_starts[0] == batch.text_starts[0, 0]
    width = study.texts.token_ids.shape[1]
    start = int(batch.text_starts[0, 0]) - len(CONTEXT)
    changed = torch.randn_like(batch.texts)
    changed[:, start : start + width] = batch.texts[:, start : start + width]
    after = block_loss(pair.draft, pair.target, replace(batch, texts=changed), loss="kl").correct
    assert torch.equal(before[0, first], after[0, first])


def test_learning_lowers_the_loss_on_texts(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    spec = replace(SPEC, steps=60, lr=2e-2, rank=16, lora_alpha=32.0)
    made = ttt_adapt(pair, CONTEXT, spec)
    assert len(made.losses) == 60
    assert sum(made.losses[-10:]) < 0.8 * sum(made.losses[:10])
    assert len(made.study) == 5
    assert made.study_seconds > 0


def test_shares_of_the_steps_add_up() -> None:
    for learns_from, expected in {
        "context": (7, 0, 0),
        "self_study": (0, 7, 0),
        "context+self_study": (4, 3, 0),
        "context:1+self_study:3": (2, 5, 0),
        "self_study+generation": (0, 4, 3),
        "context+self_study+generation": (3, 3, 1),
    }.items():
        spec = TTTSpec(steps=7, learns_from=learns_from)
        assert tuple(map(spec.steps_of, ("context", "self_study", "generation"))) == expected
        assert spec.before_answer().steps == 7 - expected[2]
        assert not spec.before_answer().learns("generation")


def test_both_sources_are_learnt_in_turn(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    spec = replace(SPEC, steps=4, learns_from="context+self_study")
    context = pair.prefill(CONTEXT)
    study = write_study(pair, context, len(CONTEXT), spec)
    widths = [batch.texts.shape[1] for batch in Lessons(pair.draft, context, len(CONTEXT), spec, study)]
    assert widths[:2] == [0, 0]
    assert all(widths[2:])


def test_a_study_without_context_reads_none(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    context = pair.prefill(CONTEXT)
    study = write_study(pair, context, len(CONTEXT), replace(SPEC, study_context=False))
    head, tail = turn_around(pair.target.tokenizer)
    asked = pair.target.tokenizer(head + study_instructions()[0] + tail, add_special_tokens=False).input_ids
    assert len(study.prefix) == 0
    assert text_of(study, 0)[: len(asked)] == tuple(asked)
    assert ttt_adapt(pair, CONTEXT, replace(SPEC, study_context=False)).losses


def test_an_opened_answer_is_no_part_of_the_context(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    prompt = pair.encode([{"role": "user", "content": "Goats stand north."}])
    study = write_study(pair, pair.prefill(prompt), len(prompt), SPEC)
    assert pair.target.tokenizer.decode(study.prefix.input_ids) == "<user>Goats stand north."


def test_seconds_bound_writing_and_steps(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    made = ttt_adapt(pair, CONTEXT, replace(SPEC, steps=100_000, study_samples=100_000, seconds=1.0))
    assert 5 < len(made.losses) < 100_000
    assert len(made.study) < 100_000
    assert made.study_seconds + made.seconds < 4


def test_the_same_seed_writes_the_same_texts(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    first, second = (ttt_adapt(pair, CONTEXT, SPEC) for _ in range(2))
    other = ttt_adapt(pair, CONTEXT, replace(SPEC, seed=1))
    assert first.study == second.study != other.study
    assert first.losses == second.losses


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learns_from": "luck"}, "ttt.learns_from: unknown 'luck'; choose from context, self_study, generation"),
        ({"learns_from": "context+context"}, "name each of context, self_study, generation once"),
        ({"learns_from": "context:0+self_study:1"}, "with a whole number above 0"),
        ({"study_samples": 0}, "ttt.study_samples must be >= 1, got 0"),
        ({"study_tokens": 1}, "ttt.study_tokens must be >= 4, got 1"),
        ({"study_temperature": 0.0}, "ttt.study_temperature must be a positive number"),
        ({"seconds": -1.0}, "ttt.seconds must be >= 0"),
    ],
)
def test_bad_settings_are_named(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(").replace("+", r"\+")):
        TTTSpec(**settings)


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"ttt.study_prompts: .*empty.txt holds no prompts"):
        study_instructions(str(tmp_path / "empty.txt"))
    with pytest.raises(ValueError, match=r"ttt.study_prompts: no file at"):
        study_instructions(str(tmp_path / "none.txt"))


def test_prompts_of_a_file_come_behind_those_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Draw it.\n\nSing it.\n", encoding="utf-8")
    assert study_instructions(str(tmp_path / "own.txt"))[-2:] == ["Draw it.", "Sing it."]


def test_a_window_too_short_for_texts_is_refused(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    context = random_prompt(480)
    with pytest.raises(ValueError, match="leaves no room in the target's window of 512"):
        ttt_adapt(pair, context, SPEC)


def test_samples_have_their_own_noise() -> None:
    assert len({sample_key(0, f"self-study {number}") for number in range(100)}) == 100


def content_words(text: str) -> set[str]:
    words = {word.strip(".,:;?!'\"()").lower() for word in text.split()}
    return {word for word in words if len(word) > 3} - {"text", "document", "above", "what", "that", "with", "from"}


def evaluated_questions() -> list[str]:
    """All questions that a shipped config asks, and those of evaluation sets where they are at hand."""
    asked = []
    for path in (ROOT / "configs" / "experiment").glob("*.yaml"):
        asked += yaml.safe_load(path.read_text())["data"]["init_args"].get("questions", [])
    data = ROOT.parent / "shared" / "data"
    for name, field in (
        ("nqswap", "question"),
        ("mtbench", "prompt"),
        ("babi", "question"),
        ("gsm8k_test", "question"),
    ):
        if (path := data / f"{name}.jsonl").is_file():
            asked += [str(json.loads(line).get(field, "")) for line in path.read_text(encoding="utf-8").splitlines()]
    return [question for question in asked if question]


def test_no_instruction_is_an_evaluated_question() -> None:
    questions = [content_words(question) for question in evaluated_questions()]
    assert questions
    for instruction in study_instructions():
        words = content_words(instruction)
        assert words
        assert not any(len(words & asked) > 0.5 * len(words | asked) for asked in questions)
