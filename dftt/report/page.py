"""The report: one page that loads nothing, and the figures as files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dftt.analysis.comparison import MARGINS
from dftt.report import plots, tables
from dftt.report.figures import Figure
from dftt.report.palette import DARK, LIGHT, variables
from dftt.report.run import Run, arms_of, load_runs
from dftt.report.tokens import token_data
from dftt.report.words import sentence_in_words, shortened, visible

_QUESTIONS = {
    "tau": "Does the draft propose better when it was adapted to the context?",
    "guidance": "Are the answers better when the draft guides the target?",
    "controls": "Is that owed to this context, and to what the draft knows?",
    "baselines": "Are the answers better under methods that do without the draft's guidance?",
    "contexts": "Is the draft worse at these contexts than at standard sets?",
}
_MOST_ROWS = 400  # of a figure's numbers in the page; its CSV has all
_CELL = 200  # characters


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
    page, figures = make_page(runs)
    saved = path.parent / "figures"
    saved.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    for figure in figures:
        figure.save(saved)
    return path


def make_page(runs: Sequence[Run]) -> tuple[str, list[Figure]]:
    """The whole page as text, and the figures in it."""
    arms = arms_of(runs)
    verdicts = [_verdict(run, number if len(runs) > 1 else 0) for number, run in enumerate(runs, start=1)]
    figures = {
        "tau": plots.tau_figures(arms),
        "guidance": plots.guidance_figures(arms),
        "adaptation": plots.adaptation_figures(arms),
        "budget": plots.budget_figures(arms),
        "errors": plots.error_figures(arms),
    }
    page = (
        environment()
        .get_template("page.html.j2")
        .render(
            title="dftt: " + ", ".join(run.name for run in runs),
            runs=runs,
            arms=arms,
            verdicts=verdicts,
            figures=figures,
            tables=tables,
            tokens=token_data(arms),
            margins=MARGINS,
            style=Markup(_style()),
            script=Markup(_asset("report.js")),
        )
    )
    asked = [each["figure"] for verdict in verdicts for each in verdict["questions"] if each["figure"]]
    return page, [*asked, *(figure for section in figures.values() for figure in section)]


def _verdict(run: Run, number: int) -> dict[str, Any]:
    """What a study says on each question: its sentence, with arms in words, and a figure of what it rests on."""
    said = run.judgement
    return {
        "run": run,
        "questions": [
            {
                "title": _QUESTIONS[each.question],
                "sentence": sentence_in_words(each.sentence, run.words),
                "figure": plots.verdict_figure(
                    run, each, f"verdict_{each.question}" + (f"_{number}" if number else "")
                ),
                "verbatim": each.sentence,
                "comparisons": tables.comparison_rows(run, each.comparisons),
            }
            for each in said.verdicts
        ],
        "notes": said.notes if said.verdicts else str(said).splitlines(),
    }


@cache
def environment() -> Environment:
    """Templates in which nothing is markup but what was made so, and no mark of a model's text acts unseen."""
    made = Environment(
        loader=PackageLoader("dftt.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_written,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["numbers"] = _numbers
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # of the traces, which are long
    return made


def _written(value: object) -> object:
    """What an expression writes: "–" for nothing, and of text that is no markup what can be seen."""
    if value is None:
        return "–"
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _numbers(figure: Figure) -> list[dict[str, object]]:
    """The rows behind a figure as the page shows them."""
    return [{name: _cell(value) for name, value in row.items()} for row in figure.rows[:_MOST_ROWS]]


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4g}"
    return shortened(value, _CELL) if isinstance(value, str) else value


def _style() -> str:
    dark = variables(DARK)
    return (
        f":root{{color-scheme:light;{variables(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}" + _asset("report.css")
    )


def _asset(name: str) -> str:
    return files("dftt.report").joinpath("assets", name).read_text(encoding="utf-8")
