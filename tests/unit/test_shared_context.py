"""Tasks of one context_id are on one context, or are refused by the places of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dftt.suites.tasks import group_by_context, load_tasks, tasks_from_documents

FORD = "Domestic goats were brought to the ford in 1412. They ate the mayor's hat."
CHEESE = "A goat cheese is made in spring. It is sold at the fair on Mondays by the miller."
SYSTEM = {"role": "system", "content": "You are a careful reader. Answer in one short sentence."}


def load(tmp_path: Path, *rows: dict[str, Any]) -> list[str]:
    """Contexts of rows that all name the context `Goats`."""
    path = tmp_path / "goats.jsonl"
    path.write_text("\n".join(json.dumps({**row, "context_id": "Goats"}) for row in rows))
    return list(group_by_context(load_tasks(path)))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def answered(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


REFUSED = {
    "context and question": (
        {"context": FORD, "question": "When?"},
        {"context": CHEESE, "question": "When?"},
    ),
    "one context inside the other": (
        {"context": FORD, "question": "When?"},
        {"context": f"{FORD} {CHEESE}", "question": "When?"},
    ),
    "blank contexts": ({"context": "", "question": "When was it?"}, {"context": "", "question": "When was she?"}),
    "prompts": ({"prompt": f"{FORD}\n\nWhen?"}, {"prompt": f"{CHEESE}\n\nWhen?"}),
    "messages behind one system message": (
        {"messages": [SYSTEM, user(f"{FORD}\n\nWhen?")]},
        {"messages": [SYSTEM, user(f"{CHEESE}\n\nWhen?")]},
    ),
    "messages behind one instruction": (
        {"messages": [user(f"Read this and answer.\n\n{FORD}\n\nWhen?")]},
        {"messages": [user(f"Read this and answer.\n\n{CHEESE}\n\nWhen?")]},
    ),
    "messages that say their question": (
        {"messages": [SYSTEM, user(f"{FORD}\n\nWhen?")], "question": "When?"},
        {"messages": [user(f"{FORD}\n\nWhen?")], "question": "When?"},
    ),
}


@pytest.mark.parametrize("rows", REFUSED.values(), ids=REFUSED)
def test_one_context_id_with_other_contexts_is_refused(tmp_path: Path, rows: tuple[dict[str, Any], ...]) -> None:
    """The draft adapted to what the template begins with, 24 tokens, and it said that it had adapted to Goats."""
    same = rows[0]
    path = tmp_path / "goats.jsonl"
    with pytest.raises(ValueError, match="give each context an id of its own") as caught:
        load(tmp_path, same, same, rows[1])
    assert f"{path}, line 3: context_id 'Goats' is that of {path}, line 1, which has another context" in str(
        caught.value
    )


ACCEPTED = {
    "equal contexts": ({"context": FORD, "question": "When?"}, {"context": f"{FORD}\n", "question": "Who ate it?"}),
    "messages with one passage": (
        {"messages": [SYSTEM, user(f"{FORD}\n\nWhen were they brought?")]},
        {"messages": [SYSTEM, user(f"{FORD}\n\nWhat did they eat?")]},
    ),
    "later turns go on from the first": (
        {"messages": [SYSTEM, user("When? " + FORD)]},
        {"messages": [SYSTEM, user("When? " + FORD), answered("1412."), user(CHEESE * 4)]},
    ),
    "the later turn comes first": (
        {"messages": [user(FORD), answered("Yes."), user(CHEESE)]},
        {"messages": [user(FORD)]},
        {"messages": [user(FORD), answered("Yes."), user(CHEESE), answered("Ok."), user("Why?")]},
    ),
    "a short question on a passage, and a long one": (
        {"messages": [user(f"{FORD}\n\nWhen?")], "question": "When?"},
        {"messages": [user(f"{FORD}\n\n{'Think. ' * 60}Why?")], "question": f"{'Think. ' * 60}Why?"},
    ),
    "equal prompts": ({"prompt": "Count."}, {"prompt": "Count."}),
}


@pytest.mark.parametrize("rows", ACCEPTED.values(), ids=ACCEPTED)
def test_tasks_on_one_context_share_it(tmp_path: Path, rows: tuple[dict[str, Any], ...]) -> None:
    assert load(tmp_path, *rows) == ["Goats"]


def documents(tmp_path: Path, *rows: dict[str, Any]) -> list[str]:
    """Contexts of documents with one question."""
    (tmp_path / "chunks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [task.context_id for task in tasks_from_documents(tmp_path / "chunks.jsonl", ["Why?"])]


def test_two_documents_of_one_id_are_refused(tmp_path: Path) -> None:
    """The first was lost."""
    rows = [{"id": "manual", "text": FORD}, {"id": "fair", "text": CHEESE}, {"id": "manual", "text": CHEESE}]
    with pytest.raises(
        ValueError, match=r"chunks\.jsonl, line 3: id 'manual' is that of .*chunks\.jsonl, line 1, which"
    ):
        documents(tmp_path, *rows)


def test_a_document_given_twice_is_one(tmp_path: Path) -> None:
    assert documents(tmp_path, {"id": 1, "text": FORD}, {"id": 1.0, "text": FORD}, {"id": 2, "text": FORD}) == [
        "1",
        "2",
    ]


def test_documents_without_ids_are_named_by_their_lines(tmp_path: Path) -> None:
    assert documents(tmp_path, {"id": None, "text": FORD}, {"text": CHEESE}) == ["chunks/1", "chunks/2"]


def test_a_file_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no documents"):
        documents(tmp_path)
