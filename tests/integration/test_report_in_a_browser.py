"""The report in a real browser; skipped where Playwright or a Chromium is missing."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dftt.report.page import write_report
from tests.written_runs import ARMS, made_record, made_trace, small_run, write_run

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium: the system's, else Playwright's own."""
    with playwright.sync_playwright() as started:
        try:
            launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([small_run(tmp_path_factory.mktemp("run"))])


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a page; afterwards no console message, no error and no request but for the file may have been seen."""
    seen: list[str] = []
    contexts = []

    def opened(path: Path, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        address = path.resolve().as_uri()
        page.on("request", lambda request: seen.append(request.url) if request.url != address else None)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert seen == []


def test_every_figure_is_drawn(open_page: Any, report: Path) -> None:
    page = open_page(report)
    figures = page.locator("figure svg")
    assert figures.count() == len(list((report.parent / "figures").glob("*.svg")))
    for index in range(figures.count()):
        box = figures.nth(index).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 60


def test_no_word_of_a_figure_is_cut_off(open_page: Any, tmp_path: Path) -> None:
    """Long names once ran out of the left edge."""
    names = ("Domain Knowledge Reasoning", "Empirical Discovery & Simulation")
    arms = (*ARMS, "guided:own_minus_other@1+own", "guided:noise_norm@-0.5+wrong")
    records = [
        replace(made := made_record(task, arm), metadata={**made.metadata, "context_category": names[task % 2]})
        for task in range(4)
        for arm in arms
    ]
    page = open_page(write_report([write_run(tmp_path, records)]))
    cut = page.evaluate(
        """[...document.querySelectorAll("figure svg text")].filter((word) => {
            const [inner, outer] = [word, word.closest("svg")].map((each) => each.getBoundingClientRect());
            return inner.left < outer.left || inner.right > outer.right || inner.bottom > outer.bottom;
        }).map((word) => word.textContent)"""
    )
    assert cut == []


def test_hovering_a_token_shows_the_three_distributions(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.locator("#token-right").select_option("guided@0.5+own")
    page.locator('button.token[data-side="1"]').nth(2).hover()
    detail = page.locator("#token-detail")
    assert detail.locator("caption").all_inner_texts() == ["target", "draft", "guided"]
    token = made_trace(made_record(0, "guided@0.5+own")).tokens[2]
    assert token.guided is not None
    shown = detail.locator("table").nth(2).locator("td:last-child").all_inner_texts()
    expected = [100 * math.exp(log_prob) for log_prob in token.guided.log_probs]
    assert [float(cell.rstrip(" %")) for cell in shown] == pytest.approx(expected, abs=0.1)
    assert ("accepted" in detail.inner_text()) == token.accepted


def test_filters_fade_all_other_tokens(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.locator("#token-right").select_option("guided@0.5+own")
    traces = [made_trace(made_record(0, arm)) for arm in ("target", "guided@0.5+own")]
    copied = sum(sum(trace.copied) for trace in traces)
    differing = sum(
        token.guided.token_ids[0] != token.target.token_ids[0]
        for trace in traces
        for token in trace.tokens
        if token.guided is not None
    )
    page.locator("#only-copied").check()
    assert page.locator("#token-count").inner_text() == f"{copied} of 24 tokens"
    page.locator("#only-copied").uncheck()
    page.locator("#only-differs").check()
    assert page.locator("button.token:not(.faded)").count() == differing


@pytest.mark.parametrize(("outcome", "before", "after"), [("fixed", False, True), ("broken", True, False)])
def test_tasks_can_be_limited_to_those_fixed_or_broken(
    open_page: Any, report: Path, outcome: str, before: bool, after: bool
) -> None:
    page = open_page(report)
    page.locator("#token-left").select_option("target")
    page.locator("#token-right").select_option("guided@0.2+own")
    page.locator("#token-outcome").select_option(outcome)
    wanted = [
        f"task {task}"
        for task in range(2)
        if (made_record(task, "target").passed, made_record(task, "guided@0.2+own").passed) == (before, after)
    ]
    assert page.locator("#token-task option").all_inner_texts() == wanted


def test_the_keyboard_walks_along_and_between_the_answers(open_page: Any, report: Path) -> None:
    page = open_page(report)
    first = page.locator('button.token[tabindex="0"]')
    first.focus()
    page.keyboard.press("ArrowRight")
    at = "document.activeElement.dataset"
    assert (page.evaluate(f"{at}.side"), page.evaluate(f"{at}.index")) == ("0", "1")
    assert "token 2" in page.locator("#token-detail").inner_text()
    assert page.locator('button.token[tabindex="0"]').count() == 1
    page.keyboard.press("End")
    assert page.evaluate(f"{at}.index") == "11"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader_and_the_button(open_page: Any, report: Path, scheme: str) -> None:
    page = open_page(report, color_scheme=scheme)
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    white, black = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    first, second = (white, black) if scheme == "light" else (black, white)
    assert page.evaluate(colour) == first
    page.locator("#theme").click()
    assert page.evaluate(colour) == second


def test_at_400_percent_zoom_nothing_is_cut_off(open_page: Any, report: Path) -> None:
    """A window of 1280 pixels at 400 % shows 320 of them."""
    page = open_page(report, viewport={"width": 320, "height": 256})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_at_400_percent_candidates_do_not_cover_their_token(open_page: Any, report: Path) -> None:
    page = open_page(report, viewport={"width": 320, "height": 256})
    page.locator('button.token[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(
        """(() => {
            const box = document.activeElement.getBoundingClientRect();
            const seen = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
            return seen === document.activeElement && seen.dataset.index === "1";
        })()"""
    )


def test_hostile_answers_do_nothing(open_page: Any, tmp_path: Path) -> None:
    said = "</script></pre><script>alert(1)</script><img src=http://127.0.0.1:9/x onerror=alert(2)>\u202e"
    records = [made_record(task, arm, answer=said) for task in (0, 1) for arm in ARMS]
    traces = [made_trace(record, texts=(said, *"abcdefgh")) for record in records]
    page = open_page(write_report([write_run(tmp_path, records, traces)]))
    page.locator("#answers summary").first.click()
    assert "<script>alert(1)" in page.locator("#answers pre").first.inner_text()
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0


@pytest.mark.slow
def test_a_large_study_opens_quickly(open_page: Any, tmp_path: Path) -> None:
    """500 tasks under 30 arms: below 20 MB, and drawn in less than 3 s."""
    arms = ["target", "speculative+none", "speculative+own", "speculative+wrong"]
    arms += [f"guided@{alpha / 20:g}+own" for alpha in range(1, 27)]
    path = write_report([small_run(tmp_path, tasks=500, arms=arms, traced=20)])
    begun = time.perf_counter()
    page = open_page(path)
    page.locator("button.token").first.hover()
    assert time.perf_counter() - begun < 3
    assert path.stat().st_size < 20_000_000
