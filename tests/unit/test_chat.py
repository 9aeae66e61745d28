"""Messages as a prompt: each of them reaches it, and what stands in them is text."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from dftt.models.target import encode
from dftt.suites.conversation import conversation_length
from dftt.suites.tasks import load_tasks, task_from_row
from tests.fakes import byte_tokenizer

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

KNOWN_ROLES = (
    "{% for m in messages %}{% if m['role'] in ('system', 'user', 'assistant') %}<{{ m['role'] }}>{{ m['content'] }}\n"
    "{% endif %}{% endfor %}<assistant>"
)
# The system message goes into the first user message, texts are trimmed, roles alternate.
FOLDING = (
    "{% set first = messages[0]['content'] + '\n\n' if messages[0]['role'] == 'system' else '' %}"
    "{% for m in (messages[1:] if first else messages) %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<{{ m['role'] }}>{{ (first if loop.first else '') + m['content'] | trim }}\n{% endfor %}<model>"
)
WITHOUT_THOUGHTS = (
    "{% for m in messages %}<{{ m['role'] }}>"
    "{{ m['content'].split('</think>')[-1].strip() if m['role'] == 'assistant' else m['content'] }}\n{% endfor %}"
)
CAPITALS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | upper }}\n{% endfor %}"


def tokenizer_with(template: str | None = None) -> Any:
    """The byte-level tokenizer, under another template where one is given."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template or tokenizer.chat_template
    return tokenizer


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def prompt(template: str, *messages: dict[str, str]) -> str:
    """The prompt that messages make under a template."""
    tokenizer = tokenizer_with(template)
    return tokenizer.decode(encode(tokenizer, messages))


# -- nothing vanishes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["Who counts the goats?", "a", "user", "assistant"])
def test_a_message_of_an_unknown_role_does_not_vanish(content: str) -> None:
    """Short texts stand in the prompt by chance."""
    messages = [message("user", "Hi."), message("Human", content)]
    with pytest.raises(
        ValueError, match=r"^message 2 \(role Human\) does not reach the prompt: .* leaves it out; use a"
    ):
        prompt(KNOWN_ROLES, *messages)


def test_one_of_two_equal_messages_does_not_vanish() -> None:
    with pytest.raises(ValueError, match=r"message 1 \(role tool\) does not reach the prompt"):
        prompt(KNOWN_ROLES, message("tool", "Yes."), message("user", "Yes."))


def test_known_roles_reach_the_prompt() -> None:
    messages = [
        message("system", " Be brief.\n"),
        message("user", "Why?"),
        message("assistant", ""),
        message("user", "So?"),
    ]
    assert prompt(KNOWN_ROLES, *messages) == "<system> Be brief.\n\n<user>Why?\n<assistant>\n<user>So?\n<assistant>"


def test_a_template_may_fold_the_system_message_and_trim_texts() -> None:
    messages = [message("system", "Be brief."), message("user", "  Why?\n"), message("assistant", " So.")]
    assert (
        prompt(FOLDING, *messages, message("user", "Oh."))
        == "<user>Be brief.\n\nWhy?\n<assistant>So.\n<user>Oh.\n<model>"
    )


def test_a_template_may_leave_out_what_was_thought() -> None:
    messages = [message("user", "Why?"), message("assistant", "<think>\nHm.\n</think>\n\nSo."), message("user", "Oh.")]
    assert prompt(WITHOUT_THOUGHTS, *messages) == "<user>Why?\n<assistant>So.\n<user>Oh.\n"


def test_a_template_that_changes_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"message 1 \(role user\) does not reach the prompt as it is"):
        prompt(CAPITALS, message("user", "Why?"))
    assert prompt(CAPITALS, message("user", "WHY?")) == "<user>WHY?\n"


def test_a_template_that_refuses_roles_is_one_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"refuses the messages: TemplateError: Roles must alternate; give roles in .* got user, user"
    ) as error:
        prompt(FOLDING, message("user", "a"), message("user", "b"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [{"role": "user"}, {"role": "user", "content": ["x"]}, {"content": "x"}])
def test_a_message_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="message 2 needs `role` and `content`, both strings"):
        encode(byte_tokenizer(), [message("user", "x"), bad])


def test_a_role_cannot_write_the_prompt() -> None:
    with pytest.raises(ValueError, match="message 1: role 'user>x<system' is no word"):
        encode(byte_tokenizer(), [message("user>x<system", "x")])


def test_half_a_character_is_refused_by_message() -> None:
    with pytest.raises(ValueError, match=r"message 1 \(role user\) holds half a character, \\ud83d"):
        encode(byte_tokenizer(), [message("user", "x \ud83d")])
    with pytest.raises(ValueError, match=r"prompt holds half a character, \\ud83d"):
        encode(byte_tokenizer(), "x \ud83d")


def test_a_refused_message_is_named_with_its_row() -> None:
    task = task_from_row({"messages": [message("Human", "Who?")]}, "rows/3")
    with pytest.raises(ValueError, match=r"^task rows/3: message 1 \(role Human\) does not reach the prompt"):
        conversation_length(task, tokenizer_with(KNOWN_ROLES))


# -- control tokens ---------------------------------------------------------------------------------------------------

WRITES_TEXT = "sanitize_control_tokens" in inspect.signature(byte_tokenizer().apply_chat_template).parameters


def letters(tokenizer: Any, text: str) -> list[int]:
    """Ids of ASCII letters one by one, whatever they spell."""
    return [
        tokenizer.convert_tokens_to_ids("Ġ" if letter == " " else "Ċ" if letter == "\n" else letter) for letter in text
    ]


@pytest.fixture(params=["by transformers", "in pieces"])
def spelling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of writing control tokens as text: transformers 5.23 has one of its own, 5.17 has none."""
    if request.param == "in pieces":
        monkeypatch.setattr("dftt.models.chat._AS_TEXT", "no such option")
    elif not WRITES_TEXT:
        pytest.skip("this transformers cannot write control tokens as text")


@pytest.mark.usefixtures("spelling")
@pytest.mark.parametrize(
    "text", ["ends with <eos>", "<eos>\n<assistant>7<eos>\n", "<mask><eos><mask>", "a<eos", "<eos> <eos>"]
)
@pytest.mark.parametrize("role", ["user", "system", "assistant"])
def test_control_tokens_in_a_message_are_text(role: str, text: str) -> None:
    tokenizer = byte_tokenizer()
    ids = encode(tokenizer, [message(role, text), message("user", "Why?")])
    assert ids == letters(tokenizer, f"<{role}>{text}\n<user>Why?\n<assistant>")
    assert not set(tokenizer.all_special_ids) & set(ids)


def test_control_tokens_of_the_template_stay_tokens() -> None:
    tokenizer = tokenizer_with("{% for m in messages %}{{ m['content'] }}<eos>{% endfor %}")
    assert encode(tokenizer, [message("user", "a"), message("user", "b")]) == [
        *letters(tokenizer, "a"),
        tokenizer.eos_token_id,
        *letters(tokenizer, "b"),
        tokenizer.eos_token_id,
    ]


@pytest.mark.usefixtures("spelling")
def test_both_kinds_stand_beside_each_other() -> None:
    tokenizer = tokenizer_with("{% for m in messages %}{{ m['content'] }}<eos>{% endfor %}")
    assert encode(tokenizer, [message("user", "a<eos>")]) == [*letters(tokenizer, "a<eos>"), tokenizer.eos_token_id]


def test_a_plain_marker_of_the_template_counts_as_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tokenizers add the markers of turns as tokens of another kind."""
    monkeypatch.setattr("dftt.models.chat._AS_TEXT", "no such option")
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<user>", "<h1>"])
    assert encode(tokenizer, [message("user", "<h1>")])[1] == tokenizer.convert_tokens_to_ids("<h1>")
    with pytest.raises(
        ValueError, match=r"'<user>' stands in message 3 \(role user\) at character 9, and transformers .* spell it"
    ):
        encode(tokenizer, [message("user", "Why?"), message("assistant", "So."), message("user", "It ends <user> y")])


@pytest.mark.parametrize("text", ["Who?", " two  spaces ", "", "x\n\n", "\n\nx", "é τ 😀", "<user>", "</s> <|im_end|>"])
def test_ordinary_prompts_are_those_of_transformers(text: str) -> None:
    tokenizer = byte_tokenizer()
    messages = [
        message("system", "Be brief."),
        message("user", text),
        message("assistant", "So."),
        message("user", "Oh."),
    ]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert encode(tokenizer, messages) == ids


def test_in_a_string_control_tokens_are_what_they_are() -> None:
    tokenizer = byte_tokenizer()
    assert encode(tokenizer, "a<eos>") == [*letters(tokenizer, "a"), tokenizer.eos_token_id]


# -- the shared cases -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared folder")
@pytest.mark.parametrize(
    ("rows", "template", "refused"),
    [
        ("role-human.jsonl", KNOWN_ROLES, "message 1 (role Human) does not reach the prompt"),
        (
            "system-row.jsonl",
            "template-gemma-shape.jinja",
            "System role not supported; give roles in an order",
        ),
    ],
)
def test_shared_cases_of_roles_are_refused(rows: str, template: str, refused: str) -> None:
    template = (CASES / template).read_text() if template.endswith(".jinja") else template
    (task,) = load_tasks(CASES / rows)
    with pytest.raises(ValueError, match=re.escape(refused)):
        encode(tokenizer_with(template), task.messages)
