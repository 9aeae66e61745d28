"""A study with copies of the passage beside the target."""

from __future__ import annotations

import json
from pathlib import Path

from dftt.study.records import load_records
from tests.commands import CONTEXTS, Commands, row
from tests.integration.test_study_grid import counted

ARMS = (
    "--evaluator.arms=[{mode: target}, {mode: copy, parameters: {what: first_tokens, tokens: 3}},"
    " {mode: copy, parameters: {what: first_sentence}}, {mode: copy, parameters: {what: last_sentence}}]"
)
TOKENS = "copy,copy.tokens=3,copy.what=first_tokens"
FIRST, LAST = "copy,copy.what=first_sentence", "copy,copy.what=last_sentence"


def test_copies_are_scored_and_kept_like_other_answers(commands: Commands) -> None:
    told = {**row(f"{CONTEXTS['rules']}\n\nWho?", task_id="told", context_id="a"), "question": "Who?"}
    untold = row("The mayor is here. Who?", task_id="untold", context_id="b")
    folder = commands.root / "study"
    flags = ("--evaluator.decoding.max_new_tokens=4", "--evaluator.baseline=target", f"--evaluator.run_dir={folder}")
    data = commands.write([told, untold])
    cli = commands("test", ARMS, *flags, "--evaluator.rows=4", data=data)
    records = {(record.task_id, record.arm): record for record in load_records(folder)}
    assert len(records) == 8

    first, last = records["told", FIRST], records["told", LAST]
    assert (first.answer, first.passed) == ("No goat may vote twice.", False)
    assert (last.answer, last.passed) == ("The mayor counts the goats.", True)
    for made in (first, last, records["told", TOKENS]):
        assert (made.acceptance_lengths, made.target_calls, made.seconds) == ((), 0, 0)
        assert made.finish_reason == "length"
        assert cli.model.pair.target.tokenizer.decode(made.token_ids) == made.answer
    assert len(records["told", TOKENS].token_ids) == 3
    assert CONTEXTS["rules"].startswith(records["told", TOKENS].answer)
    for arm in (TOKENS, FIRST, LAST):
        assert (records["untold", arm].passed, records["untold", arm].finish_reason) == (None, "error")
        assert records["untold", arm].explanation.startswith("no passage to copy: ")
    assert said_of(folder)[LAST]["tau"] is None
    assert said_of(folder)[LAST]["pass_rate"] == 1

    before = (folder / "records.0.jsonl").read_text()
    with counted() as counts:
        commands("test", ARMS, *flags, data=commands.write([told]))
    assert not any(counts.values())
    assert (folder / "records.0.jsonl").read_text() == before


def said_of(folder: Path) -> dict[str, dict[str, object]]:
    """Rows of the summary by arm."""
    return {each["arm"]: each for each in json.loads((folder / "summary.json").read_text())}
