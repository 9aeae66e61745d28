"""The wrong-context control: another context is one of another text."""

from __future__ import annotations

from pathlib import Path

import pytest

from dftt.adaptation.ttt import ttt_adapt
from dftt.data import ContextDataModule
from dftt.models.pair import load_pair
from dftt.suites.questions import passage_of
from dftt.types import Record, TTTSpec
from tests.commands import Commands
from tests.integration.test_evaluator import records_of
from tests.integration.test_study_materials import arms

SHORT = ("--evaluator.decoding.max_new_tokens=8", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
LEARN = ("--model.ttt.steps=2", "--model.ttt.lr=0.02")
WRONG = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: wrong}]"
GOATS, BOATS = "No goat may vote twice. The mayor counts.", "A red boat waits for a blue one in the harbour."


def qa(commands: Commands, *rows: tuple[str, str]) -> Path:
    """A file of contexts and questions, named a, b, c ..."""
    return commands.write(
        [{"context": text, "question": asked, "id": "abcd"[n]} for n, (text, asked) in enumerate(rows)]
    )


def losses(commands: Commands, text: str, question: str) -> list[float]:
    """Losses of an adaptation to a prompt, by the public functions alone."""
    pair = load_pair(commands.target, commands.draft)
    prompt = pair.encode([{"role": "user", "content": f"{text}\n\n{question}"}])
    return [round(loss, 4) for loss in ttt_adapt(pair, prompt, TTTSpec(steps=2, lr=0.02, anchors=4)).losses]


def wrong(records: dict[tuple[str, str], Record], task: str) -> Record:
    return records[task, "speculative+wrong"]


def test_an_equal_prompt_is_no_wrong_context(commands: Commands) -> None:
    data = qa(commands, (GOATS, "Who?"), (GOATS, "Who?"), (BOATS, "Which?"))
    records = records_of(commands("test", *SHORT, *LEARN, WRONG, data=data))
    boats, goats = losses(commands, BOATS, "Which?"), losses(commands, GOATS, "Who?")
    assert wrong(records, "a").adaptation["losses"] == boats  # not b's, which says what a says
    assert wrong(records, "b").adaptation["losses"] == boats
    assert wrong(records, "c").adaptation["losses"] == goats


def test_an_equal_passage_is_no_wrong_context(commands: Commands) -> None:
    data = qa(commands, (GOATS, "Who?"), (GOATS, "Why so often?"), (BOATS, "Which?"))
    records = records_of(commands("test", *SHORT, *LEARN, WRONG, data=data))
    assert wrong(records, "a").adaptation["losses"] == losses(commands, BOATS, "Which?")


def test_where_all_passages_are_equal_another_prompt_serves(commands: Commands) -> None:
    data = qa(commands, (GOATS, "Who?"), (GOATS, "Why so often?"))
    records = records_of(commands("test", *SHORT, *LEARN, WRONG, data=data))
    assert wrong(records, "a").adaptation["losses"] == losses(commands, GOATS, "Why so often?")


def test_where_all_contexts_are_equal_the_control_is_unscored(commands: Commands) -> None:
    flags = (*SHORT, *LEARN, "--evaluator.baseline=target")
    both = (
        "--evaluator.arms=[{mode: target}, {mode: speculative, ttt: wrong},"
        " {mode: guided, alpha: 1.0, ttt: own, guidance: {rule: own_minus_other}}]"
    )
    records = records_of(commands("test", *flags, both, data=qa(commands, (GOATS, "Who?"), (GOATS, "Who?"))))
    for (_, arm), record in records.items():
        if arm != "target":
            assert (record.finish_reason, record.passed) == ("error", None)
            assert record.explanation == "no other context: none of this study has another text"


def test_own_minus_other_of_equal_weights_is_unscored(commands: Commands) -> None:
    """A learning rate so small that no weight moves: both adapters are the fresh one."""
    data = qa(commands, (GOATS, "Who?"), (BOATS, "Which?"))
    flags = (*SHORT, "--model.ttt.steps=1", "--model.ttt.lr=1e-45", *arms("{rule: own_minus_other}"))
    records = records_of(commands("test", *flags, data=data))
    (record,) = [record for (task, arm), record in records.items() if task == "a" and "other" in arm]
    assert record.finish_reason == "error"
    assert record.explanation == (
        "the adapters of this context and of b have equal weights: nothing is left of their difference"
    )


def test_own_minus_other_without_a_step_is_refused(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    flags = (*SHORT, "--model.ttt.steps=0", *arms("{rule: own_minus_other}"))
    data = qa(commands, (GOATS, "Who?"), (BOATS, "Which?"))
    line = commands.refused(capfd, *commands.arguments("test", *flags, data=data))
    assert "with ttt.steps 0 the adapters of all contexts are equal" in line


def test_what_the_docs_say_of_babi_is_so(shared_data: Path) -> None:
    """docs/concepts/studies.md counts the contexts whose next one says the same."""
    (path,) = shared_data.glob("babi.jsonl")
    contexts = ContextDataModule(str(path), suite="babi").contexts
    firsts = [tasks[0] for tasks in contexts.values()]
    nexts = [*firsts[1:], firsts[0]]
    prompts = sum(one.messages == other.messages for one, other in zip(firsts, nexts, strict=True))
    passages = sum(passage_of(one) == passage_of(other) for one, other in zip(firsts, nexts, strict=True))
    assert (len(firsts), prompts, passages) == (1500, 26, 112)
