"""Free text on the command line and in config files is taken as it was typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ActionConfigFile  # pyright: ignore[reportPrivateImportUsage]
from lightning import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser

from dftt.data import ContextDataModule
from dftt.free_text import as_configs
from tests.commands import Commands, log_dir

TEXTS = [
    "Is it true: does she count?",
    "# of valves?",
    "yes",
    "1",
    "[x]",
    "null",
    "{a: b}",
    "~",
    "- why",
    '"quoted"',
    'it\'s "so"',
    "two\nlines: x",
    "C:\\new é 😀 \x7f\x1b",
    "a, b",
    "cli.py",
    "x" * 5000,
]


DATA = "--data=ContextDataModule"


@pytest.fixture(scope="module")
def asked() -> Callable[..., dict[str, Any]]:
    """What the data module is given by arguments, parsed as the command line does."""
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_subclass_arguments(LightningDataModule, "data")
    return lambda *flags: vars(parser.parse_args(as_configs(flags)).data.init_args)


def test_a_question_is_taken_as_it_was_typed(asked: Callable[..., dict[str, Any]]) -> None:
    for name in ("data.question", "data.init_args.question"):
        assert [asked(DATA, f"--{name}={text}")["question"] for text in TEXTS] == TEXTS
        assert [asked(DATA, f"--{name}", text)["question"] for text in TEXTS] == TEXTS


def test_a_question_of_a_config_file_is_taken_as_it_is_written(
    asked: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "asked.yaml"
    for text in TEXTS:
        init_args = {"question": text, "questions": [text], "path": text}
        path.write_text(yaml.safe_dump({"data": {"class_path": "dftt.data.ContextDataModule", "init_args": init_args}}))
        given = asked("--config", str(path))
        assert {name: given[name] for name in init_args} == init_args


def test_a_files_name_is_no_yaml(asked: Callable[..., dict[str, Any]]) -> None:
    """`--data.context "#1.md"` answered on the demo's documents."""
    for text in ("#1.md", "goats: a tale.md", "[draft].md", "null"):
        assert asked(DATA, f"--data.context={text}")["context"] == text
        assert asked(DATA, "--data.init_args.path", text)["path"] == text


def test_free_text_arrives_and_is_kept_with_the_run(commands: Commands) -> None:
    (commands.root / "#1: goats.md").write_text("The mayor counts the goats.")
    flags = (f"--data.context={commands.root}/#1: goats.md", "--data.question", "# is it true: does she count?")
    short = ("--evaluator.decoding.max_new_tokens=2", "--model.ttt.steps=1")
    cli = commands("predict", DATA, *flags, *short)
    assert [task.question for task in cli.datamodule.tasks] == [flags[-1]]
    again = commands.run("predict", "--config", log_dir(cli) / "config.yaml")
    assert again.datamodule.tasks == cli.datamodule.tasks


def test_questions_with_commas_and_quotes_stay_whole(asked: Callable[..., dict[str, Any]]) -> None:
    given = asked(DATA, '--data.questions=["Which one, a or b?", "Is it \\"it\'s\\": so?", "# é 😀"]')
    assert given["questions"] == ["Which one, a or b?", 'Is it "it\'s": so?', "# é 😀"]


def test_questions_are_added_one_by_one_with_a_plus(asked: Callable[..., dict[str, Any]]) -> None:
    given = asked(DATA, "--data.questions+=a, b", "--data.questions+", "c: d", '--data.questions+=["e", "f"]')
    assert given["questions"] == ["a, b", "c: d", "e", "f"]


def test_of_two_equal_flags_the_later_one_counts(asked: Callable[..., dict[str, Any]]) -> None:
    given = asked(DATA, "--data.question=a", "--data.question=b", '--data.questions=["c"]', '--data.questions=["d"]')
    assert (given["question"], given["questions"]) == ("b", ["d"])


@pytest.mark.parametrize("value", ["[Which one, a or b?, Why?]", "Why?", "[1]", '{"a": "b"}', '["a", "b"'])
@pytest.mark.parametrize("flag", ["--data.questions=", "--data.init_args.questions="])
def test_questions_that_are_no_json_list_are_refused(
    asked: Callable[..., dict[str, Any]], flag: str, value: str
) -> None:
    """The first was read as three questions."""
    with pytest.raises(
        ValueError, match=r"data.questions: give a JSON list of texts, .* can be given as data.question$"
    ):
        asked(DATA, flag + value)


def test_null_takes_questions_away(asked: Callable[..., dict[str, Any]]) -> None:
    assert asked(DATA, '--data.questions=["a"]', "--data.questions=null")["questions"] is None


def test_half_a_character_on_the_command_line_is_refused(asked: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"data.question holds half a character, \\udcff"):
        asked(DATA, "--data.question=x\udcff")


def test_a_question_on_no_document_is_refused() -> None:
    """The demo's questions were answered in its place."""
    with pytest.raises(ValueError, match=r"data.question 'Why\?' is asked on no document; give one with data.context"):
        ContextDataModule(question="Why?")


def test_other_arguments_are_left_alone() -> None:
    for args in (["--data.questioned=x"], ["--data", "question"], ["--data.question"], ["--data.path", "--x=1"]):
        assert as_configs(["predict", *args]) == ["predict", *args]
