"""Chat messages as the tokens of a prompt: all that they say is in it, and nothing in them is a control token."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import transformers

from dftt.types.checks import whole_characters
from dftt.types.inputs import reading

Messages = Sequence[Mapping[str, str]]
_SLOT = "\ue000{}\ue000"  # of a message in a template's skeleton; no text and no whitespace of its own
_AS_TEXT = "sanitize_control_tokens"  # transformers 5.23 has it, 5.17 has not


class _Control(NamedTuple):
    """A control token inside a message."""

    token: str
    token_id: int
    place: str


def chat_ids(tokenizer: Any, messages: Messages, *, thinking: bool) -> list[int]:
    """Token ids of messages with the chat template applied and the generation prompt added.

    Control tokens inside a message (special tokens, and others that the template writes) become ordinary text. An
    assistant's message keeps those that are not special, such as the ones around its thinking, for the template to see.
    `thinking` lets a template that has a thinking mode use it.

    Raises:
        ValueError: A message is none, the template refuses the messages, a message does not reach the prompt, or a
            control token cannot be written as text.
    """
    messages = [_checked(number, message) for number, message in enumerate(messages, start=1)]
    options = {"add_generation_prompt": True, "enable_thinking": thinking}
    text = _render(tokenizer, messages, options)
    skeleton = _render(tokenizer, [_slot(number, each) for number, each in enumerate(messages, start=1)], options)
    for number, message in enumerate(messages, start=1):
        _check_arrival(number, message, text=text, skeleton=skeleton)
    controls = _controls(tokenizer, messages, skeleton)
    if not controls:
        return list(tokenizer(text, add_special_tokens=False).input_ids)
    ids = _sanitized(tokenizer, messages, options) or _in_pieces(tokenizer, messages, text, skeleton)
    _check_text(tokenizer, ids, controls, text=text, skeleton=skeleton)
    return ids


def _checked(number: int, message: Mapping[str, str]) -> dict[str, str]:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise ValueError(f"message {number} needs `role` and `content`, both strings")
    if not re.fullmatch(r"[\w-]+", role):
        raise ValueError(f"message {number}: role {role!r} is no word; give one such as user or assistant")
    return {"role": role, "content": whole_characters(_name(number, role), content)}


def _render(tokenizer: Any, messages: Messages, options: Mapping[str, Any]) -> str:
    roles = ", ".join(message["role"] for message in messages)
    fix = f"give roles in an order that it takes, got {roles}: a system's text can stand in the first user message"
    with reading("the target's chat template refuses the messages", fix=fix):
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def _slot(number: int, message: Mapping[str, str]) -> dict[str, str]:
    """The message with a mark in place of its text."""
    return {**message, "content": _SLOT.format(number) if message["content"].strip() else message["content"]}


def _check_arrival(number: int, message: Mapping[str, str], *, text: str, skeleton: str) -> None:
    """Refuse a message that the template leaves out or changes; space around it may go, and an answer's thinking."""
    content, name = message["content"].strip(), _name(number, message["role"])
    # A short text may stand in the prompt by chance, so it is its mark that must be there.
    if content and _SLOT.format(number) not in skeleton:
        raise ValueError(
            f"{name} does not reach the prompt: the target's chat template leaves it out; use a role that it knows"
        )
    answered = content.rpartition("</think>")[2].strip() if message["role"] == "assistant" else content
    if answered not in text:
        raise ValueError(f"{name} does not reach the prompt as it is: the target's chat template changes its text")


def _controls(tokenizer: Any, messages: Messages, skeleton: str) -> list[_Control]:
    """The first place of each control token in each message."""
    template = tokenizer.get_chat_template()
    found = []
    for token_id, token in tokenizer.added_tokens_decoder.items():
        written = not token.content.isspace() and (token.content in template or token.content in skeleton)
        for number, message in enumerate(messages, start=1):
            counts = token.special or (written and message["role"] != "assistant")
            if counts and (start := message["content"].find(token.content)) >= 0:
                place = f"{_name(number, message['role'])} at character {start + 1}"
                found.append(_Control(token.content, token_id, place))
    return found


def _check_text(tokenizer: Any, ids: list[int], controls: Sequence[_Control], *, text: str, skeleton: str) -> None:
    """Refuse ids that are not those of the text, or in which a control token of a message is one still."""
    same = tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    if not same or any(ids.count(control.token_id) != skeleton.count(control.token) for control in controls):
        raise ValueError(
            f"the control token {controls[0].token!r} stands in {controls[0].place}, and transformers "
            f"{transformers.__version__} cannot write it as text with this tokenizer; spell it in another way"
        )


def _sanitized(tokenizer: Any, messages: Messages, options: Mapping[str, Any]) -> list[int]:
    """What transformers makes of messages whose control tokens are to be text; nothing where it cannot."""
    if _AS_TEXT not in inspect.signature(tokenizer.apply_chat_template).parameters:
        return []
    try:
        return list(tokenizer.apply_chat_template(messages, return_dict=False, **options, **{_AS_TEXT: True}))
    except ValueError:  # it found a token that its tokenizer makes of plain text, too
        return []


def _in_pieces(tokenizer: Any, messages: Messages, text: str, skeleton: str) -> list[int]:
    """What the template writes, and between it the messages with their special tokens spelt; nothing where that fails.

    For versions of transformers that do not do it themselves.
    """
    ids, end = [], 0
    for number, piece in enumerate(re.split(r"\ue000(\d+)\ue000", skeleton)):
        is_message = number % 2 == 1
        said = messages[int(piece) - 1]["content"] if is_message else piece
        said = said if text.startswith(said, end) else said.strip()
        if not text.startswith(said, end):
            return []
        end += len(said)
        ids += tokenizer(said, add_special_tokens=False, split_special_tokens=is_message).input_ids if said else []
    return ids


def _name(number: int, role: str) -> str:
    return f"message {number} (role {role})"
