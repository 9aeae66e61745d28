"""The report: one page that loads nothing, and the figures as files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dftt.analysis import arm_roles
from dftt.analysis.comparison import MARGINS, Comparison
from dftt.analysis.frame import emitted_tau, tau_per_prompt
from dftt.report import plots, tables
from dftt.report.figures import Figure
from dftt.report.run import Run, arms_of, load_runs
from dftt.report.tokens import token_data
from dftt.report.words import sentence_in_words, shortened, visible
from dftt.scoring.error_classes import ERROR_CLASSES
from dftt.tables import decimal, number


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
    figures: dict[Any, list[Figure]] = {
        "tau": plots.tau_figures(arms),
        "guidance": plots.guidance_figures(arms),
        "adaptation": plots.adaptation_figures(arms),
        "budget": plots.budget_figures(arms),
        "errors": plots.error_figures(arms),
    }
    for count, run in enumerate(runs, start=1):
        for verdict in run.judgement.verdicts:
            name = f"verdict_{verdict.question}" + (f"_{count}" if len(runs) > 1 else "")
            figures[run.name, verdict.question] = plots.verdict_figures(run, verdict, name)
    page = (
        environment()
        .get_template("page.html.j2")
        .render(
            title="dftt: " + ", ".join(run.name for run in runs),
            runs=runs,
            arms=arms,
            figures=figures,
            tables=tables,
            tokens=token_data(arms),
        )
    )
    return page, [figure for section in figures.values() for figure in section]


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
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # of the traces, which are long
    made.globals |= {"asset": _asset, "roles": arm_roles, "margins": MARGINS, "classes": ERROR_CLASSES}
    made.filters |= {
        "in_words": sentence_in_words,
        "shortened": shortened,
        "interval": tables.shown,
        "decimal": lambda value: decimal(number(value)),
        "with_unscored": _with_unscored,
        "tau_per_prompt": tau_per_prompt,
        "emitted": lambda arm: emitted_tau(arm.records, guided=arm.arm.mode == "guided"),
    }
    return made


def _written(value: object) -> object:
    """What an expression writes: "–" for nothing, and of text that is no markup what can be seen."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return "–" if value is None else value


def _with_unscored(each: Comparison) -> str:
    """The interval of a comparison, whatever the unscored answers are worth."""
    return tables.shown(replace(each.interval, low=each.at_least, high=each.at_most), "+") if each.unusable else ""


def _asset(name: str) -> Markup:
    return Markup(files("dftt.report").joinpath("assets", name).read_text(encoding="utf-8"))
