"""The report: sections on one page that loads nothing, and the figures as files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from dftt.report.adaptation import adaptation_section
from dftt.report.answers import answer_section
from dftt.report.budget import budget_section
from dftt.report.errors import error_section
from dftt.report.guidance import guidance_section
from dftt.report.head import head
from dftt.report.markup import Markup, join, tag
from dftt.report.palette import DARK, LIGHT, variables
from dftt.report.run import Run, arms_of, load_runs
from dftt.report.section import Section
from dftt.report.tau import tau_section
from dftt.report.tokens import token_section

# Whatever a page is made to hold, the browser fetches nothing for it and sends nothing anywhere.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def write_report(folders: Sequence[str | Path], *, to: str | Path | None = None) -> Path:
    """Write report.html, and a folder `figures` beside it; the path of the page.

    Args:
        folders: Folders of runs; several are compared.
        to: The page's path; by default report.html in the folder of the first run.

    Raises:
        ValueError: No folder is given, or one of them holds no readable run; the message names it.
    """
    if not folders:
        raise ValueError("report: no run given; name at least one folder with records.*.jsonl")
    runs = load_runs(folders)
    path = Path(to) if to is not None else Path(folders[0]) / "report.html"
    sections = make_sections(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_page(runs, sections), encoding="utf-8")
    saved = path.parent / "figures"
    saved.mkdir(exist_ok=True)
    for section in sections:
        for figure in section.figures:
            figure.save(saved)
    return path


def make_sections(runs: Sequence[Run]) -> list[Section]:
    """All sections of the report of these runs, in order."""
    arms = arms_of(runs)
    return [
        head(runs, arms),
        tau_section(arms),
        guidance_section(runs, arms),
        adaptation_section(arms),
        budget_section(arms),
        error_section(runs, arms),
        token_section(arms),
        answer_section(arms),
    ]


def make_page(runs: Sequence[Run], sections: Sequence[Section]) -> str:
    """The whole page as text."""
    title = "dftt: " + ", ".join(run.name for run in runs)
    head_element = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Markup(f"<style>{_style()}</style>"),
    )
    toggle = tag("button", "Light or dark", id="theme", type="button")
    links = tag("nav", [tag("a", s.title, href=f"#{s.id}") for s in sections], toggle, aria_label="sections")
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        tag("header", tag("h1", title), links),
        tag("main", [section.element() for section in sections], id="content"),
        Markup(f"<script>{_asset('report.js')}</script>"),
    )
    return f"<!doctype html>\n{tag('html', join(head_element, body), lang='en')}\n"


def _style() -> str:
    dark = variables(DARK)
    return (
        f":root{{color-scheme:light;{variables(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}" + _asset("report.css")
    )


def _asset(name: str) -> str:
    return files("dftt.report").joinpath("assets", name).read_text(encoding="utf-8")
