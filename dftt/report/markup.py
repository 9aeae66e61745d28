"""HTML from Python values. Everything is escaped unless it was built here, so model text can only ever be text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence

_VOID = frozenset({"meta", "input", "br", "hr"})
# Controls, zero-width and bidirectional marks: they would act on the page instead of being seen.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class Markup(str):
    """Text that is HTML already; only functions of this package make it."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """An element; children that are no markup are escaped.

    Args:
        name: Of the element.
        children: Markup, text, numbers, or sequences of them; None is nothing.
        attributes: `class_` stands for class, `data_x` for data-x; None and False leave an attribute out, True has no
            value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after the other, what is no markup escaped."""
    return Markup("".join(_written(child) for child in children))


def visible(text: str) -> str:
    """The text with marks that are not seen (bidirectional, zero-width, control) written out, such as ⟨U+202E⟩."""
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def shortened(text: str, limit: int) -> str:
    """The first `limit` characters, and how many there are in all where there are more."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters in all)"


def table(rows: Sequence[Mapping[str, Child]], *, caption: str = "", numbers: bool = True) -> Markup:
    """Rows as a table that scrolls by itself where it is wider than the page.

    Args:
        rows: All with the names of the first, which become the header.
        caption: Says what the table shows.
        numbers: Align all columns but the first to the right.
    """
    if not rows:
        return tag("p", "Nothing to show.", class_="note")
    head = tag("tr", [tag("th", name, scope="col") for name in rows[0]])
    body = [
        tag(
            "tr",
            [
                tag("th" if index == 0 else "td", cell, scope="row" if index == 0 else None)
                for index, cell in enumerate(row.values())
            ],
        )
        for row in rows
    ]
    inner = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", head),
        tag("tbody", body),
        class_="numbers" if numbers else None,
    )
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption or "table")


def embedded_json(value: object, *, id: str) -> Markup:
    """JSON for a script of the page; nothing in it can close the element that holds it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(f'<script type="application/json" id="{html.escape(id)}">{safe}</script>')


def _written(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(visible(child))
    if isinstance(child, int | float):
        return str(child)
    return join(*child)


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(visible(str(value)))}"'
