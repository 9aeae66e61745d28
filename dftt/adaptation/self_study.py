"""Self-study: before it is asked, the target writes about the context, and the draft learns from what it wrote.

A draft has to predict the target's answers about a context and not the context, so that is what it practises on. The
corpus is that of Cartridges (arXiv 2506.06266): texts sampled from generic instructions. Each sampled token comes
with its features and with the target's state before it, since the target has just read it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from dftt.adaptation.steps import is_out_of_memory
from dftt.decoding.recording import Texts, joined, write_texts
from dftt.decoding.sampling import sample_key
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prefill, TTTSpec, check_file

logger = logging.getLogger(__name__)

WRITING_SHARE = 1 / 3  # of the seconds that a spec allows
_MARK = "\u2042"  # stands for a message where a template is looked at
_ROWS = {"cuda": 64, "cpu": 8}  # texts that are written at a time; on a CPU each row holds a copy of the context


@dataclass(frozen=True)
class Study:
    """What the target wrote about a context."""

    prefix: Prefill  # of the tokens that all texts begin with, those of the context
    texts: Texts  # behind it
    seconds: float  # wall-clock time of writing them

    def answers(self) -> tuple[tuple[int, ...], ...]:
        """The written tokens of each text."""
        rows = zip(self.texts.token_ids.tolist(), self.texts.starts.tolist(), self.texts.lengths.tolist(), strict=True)
        return tuple(tuple(ids[start : length + 1]) for ids, start, length in rows)


def study_instructions(path: str = "") -> list[str]:
    """The instructions of the package, then those of a file, one a line.

    Raises:
        ValueError: If there is no such file, or no instruction in it.
    """
    own = (files("dftt.adaptation") / "study_prompts.txt").read_text(encoding="utf-8").splitlines()
    if not path:
        return own
    try:
        lines = check_file("ttt.study_prompts", path).read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"ttt.study_prompts: {path} cannot be read as UTF-8 text ({error})") from error
    given = [line.strip() for line in lines if line.strip()]
    if not given:
        raise ValueError(f"ttt.study_prompts: {path} holds no prompts; write one instruction a line")
    return own + given


def write_study(pair: Pair, context: Prefill, context_length: int, spec: TTTSpec) -> Study:
    """What the target writes about a context: `spec.study_samples` texts, fewer where `spec.seconds` ends it.

    Raises:
        ValueError: If a text does not fit the target's window behind the context.
    """
    encode = lambda text: tuple(pair.target.tokenizer(text, add_special_tokens=False).input_ids)  # noqa: E731
    before, tail = turn_around(pair.target.tokenizer)
    known = 0
    if spec.study_context:
        before, known, ending = "\n\n", context_length, encode(tail)
        # A context that is a whole prompt has opened the answer: it counts up to where the user's turn ends.
        if ending and context.input_ids[:context_length][-len(ending) :] == ending:
            known -= len(ending)
    asked = [encode(before + each + tail) for each in study_instructions(spec.study_prompts)]
    return write_rows(pair, context.first(known), asked, spec)


def write_rows(pair: Pair, prefix: Prefill, asked: Sequence[Sequence[int]], spec: TTTSpec) -> Study:
    """As write_study, of instructions that are tokens already; they take turns.

    Where memory runs out, fewer texts are written at a time.
    """
    begun = time.perf_counter()
    width = max(map(len, asked)) + spec.study_tokens
    if len(prefix) + width > pair.target.window:
        raise ValueError(
            f"a context of {len(prefix)} tokens leaves no room in the target's window of {pair.target.window} for "
            f"texts of {width} tokens about it: lower ttt.study_tokens, or shorten the context"
        )
    decoding = DecodingSpec("target", spec.study_tokens, temperature=spec.study_temperature)
    rows, written = _ROWS[pair.target.device.type], []
    while (done := sum(map(len, written))) < spec.study_samples:
        if written and spec.seconds and time.perf_counter() - begun > spec.seconds * WRITING_SHARE:
            break
        numbers = range(done, min(done + rows, spec.study_samples))
        prompts = [(*prefix.input_ids, *asked[number % len(asked)]) for number in numbers]
        keys = [sample_key(spec.seed, f"self-study {number}") for number in numbers]
        try:
            written.append(write_texts(pair, prefix, prompts, keys, decoding, width))
        except RuntimeError as error:
            if not is_out_of_memory(error) or rows == 1:
                raise
            rows = max(1, rows // 2)
            logger.warning("self-study ran out of memory and writes %d texts at a time", rows)
    return Study(prefix, joined(written), time.perf_counter() - begun)


def turn_around(tokenizer: Any) -> tuple[str, str]:
    """What a chat template writes before a user's message, and from its end to the beginning of the answer."""
    if not tokenizer.chat_template:
        return "", "\n\n"
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": _MARK}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    head, _, tail = rendered.partition(_MARK)
    return head, tail
