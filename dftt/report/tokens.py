"""The token view: answers of two arms side by side, each token with the distributions behind it.

The page holds the traces as data and its script draws two answers at a time, as text nodes only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dftt.decoding.replay import Candidates, TokenTrace
from dftt.report.guidance import target_beside
from dftt.report.markup import Markup, embedded_json, join, shortened, tag, visible
from dftt.report.run import ArmData
from dftt.report.section import Section, note
from dftt.study.traces import Trace
from dftt.types import Record

_ANSWER_TOKENS = 600  # of one answer: aligning two of them is quadratic
_TOKEN_TEXT = 100  # characters of a token
_PAGE_TOKENS = 40_000  # of all answers together: about 8 MB


def token_section(arms: Sequence[ArmData]) -> Section:
    """The view of all traced answers, or how to trace some."""
    traced = [(arm, record, arm.run.traces[record.key]) for arm in arms for record in _traced(arm)]
    if not traced:
        body = note("No answer was traced: run `test` with --evaluator.trace_tasks 3 to see behind its tokens.")
        return Section("tokens", "Token by token", body)
    view = _View()
    for arm, record, trace in traced:
        view.add(arm, record, trace)
    left, right = _first_choice([arm for arm, _, _ in traced], arms)
    data = {**view.data(), "left": left, "right": right}
    left_out = note(f"{view.left_out} more traced answers have no room here.") if view.left_out else None
    body = join(_explanation(), left_out, _controls(), embedded_json(data, id="token-data"))
    return Section("tokens", "Token by token", body)


class _View:
    """What the script reads; every text stands in it once, and tokens name texts by number."""

    def __init__(self) -> None:
        self.left_out = 0
        self._texts: dict[str, int] = {}
        self._tasks: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._arms: dict[str, None] = {}
        self._room = _PAGE_TOKENS

    def add(self, arm: ArmData, record: Record, trace: Trace) -> None:
        """Take an answer in, as far as there is room for its beginning."""
        tokens = trace.tokens[:_ANSWER_TOKENS]
        if len(tokens) > self._room:
            self.left_out += 1
            return
        self._room -= len(tokens)
        self._arms[arm.label] = None
        # Several runs may have answered the same task: their answers stand side by side.
        key = (record.context_id, record.task_id, record.seed)
        name = record.task_id if record.seed == 0 else f"{record.task_id}, seed {record.seed}"
        task = self._tasks.setdefault(key, {"task": visible(name), "answers": {}})
        task["answers"][arm.label] = {
            "passed": record.passed,
            "cut": len(trace.tokens) - len(tokens),
            "tokens": [self._token(token, copied, trace) for token, copied in zip(tokens, trace.copied, strict=False)],
        }

    def data(self) -> dict[str, Any]:
        """All of it."""
        return {"texts": list(self._texts), "tasks": list(self._tasks.values()), "arms": list(self._arms)}

    def _token(self, token: TokenTrace, copied: bool, trace: Trace) -> list[Any]:
        differs = token.guided is not None and token.guided.token_ids[:1] != token.target.token_ids[:1]
        return [
            self._text(token.token_id, trace),
            token.slot,
            int(token.accepted),
            int(copied),
            int(differs),
            *(self._candidates(each, trace) for each in (token.target, token.draft, token.guided)),
        ]

    def _candidates(self, candidates: Candidates | None, trace: Trace) -> list[float | None] | None:
        """The committed token's log-probability, then text and probability of the likeliest."""
        if candidates is None:
            return None
        flat: list[float | None] = [candidates.log_prob if math.isfinite(candidates.log_prob) else None]
        for token, log_prob in zip(candidates.token_ids, candidates.log_probs, strict=True):
            flat += [self._text(token, trace), round(math.exp(log_prob), 4)]
        return flat

    def _text(self, token: int, trace: Trace) -> int:
        # A line break is a mark of its own in the view; all else that is not seen is written out.
        text = visible(shortened(trace.texts.get(token, f"[{token}]"), _TOKEN_TEXT))
        return self._texts.setdefault(text, len(self._texts))


def _traced(arm: ArmData) -> list[Record]:
    return [record for record in arm.records if record.key in arm.run.traces]


def _first_choice(traced: Sequence[ArmData], arms: Sequence[ArmData]) -> tuple[str, str]:
    """The two arms shown first: the target, and one guided by the draft that adapted to the own context, if any."""
    wanted = lambda arm: (arm.mode != "guided", arm.ttt != "own", bool(arm.guidance), arm.alpha <= 0)  # noqa: E731
    right = min(traced, key=lambda data: (*wanted(data.arm), data.is_baseline))
    reference = target_beside(right, arms)
    left = reference if reference in traced else traced[0]
    return (left or traced[0]).label, right.label


def _explanation() -> Markup:
    return note(
        "Colour is the draft's correction of the token that was committed: log p(guided) − log p(target) in guided "
        "arms, log p(draft) − log p(target) elsewhere. Blue with a solid line: the draft speaks for the token; orange "
        "with a dashed line: against it. Rest the pointer on a token, or walk with the arrow keys, to see the top "
        "candidates. A context token follows the token before it in the context, too."
    )


def _controls() -> Markup:
    def choice(id: str, label: str, *options: tuple[str, str]) -> Markup:
        made = [tag("option", text, value=value) for value, text in options]
        return tag("label", tag("span", label), tag("select", made, id=id))

    def check(id: str, label: str) -> Markup:
        return tag("label", tag("input", type="checkbox", id=id), tag("span", label), class_="check")

    return tag(
        "div",
        tag(
            "div",
            choice("token-left", "first answer"),
            choice("token-right", "second answer"),
            choice(
                "token-outcome",
                "tasks",
                ("all", "all"),
                ("fixed", "fixed: first failed, second passed"),
                ("broken", "broken: first passed, second failed"),
            ),
            choice("token-task", "task"),
            class_="controls",
        ),
        tag(
            "div",
            check("only-differs", "guided differs from target"),
            check("only-copied", "context token"),
            check("only-accepted", "accepted proposal"),
            tag("output", id="token-count"),
            class_="controls",
        ),
        tag(
            "div",
            tag("div", id="token-pairs", class_="pairs", role="group", aria_label="tokens of both answers"),
            tag("aside", id="token-detail", aria_live="polite", tabindex=0),
            class_="token-view",
        ),
        tag("noscript", note("This view needs scripts; everything above does not.")),
        id="token-app",
    )
