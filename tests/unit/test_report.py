"""The report from records alone: what it says, and that nothing a model wrote can act on it."""

from __future__ import annotations

import csv
import gzip
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from dftt.analysis.summary import summarise
from dftt.analysis.verdict import write_verdict
from dftt.report.__main__ import main
from dftt.report.figures import Figure, lines
from dftt.report.page import environment, make_page, write_report
from dftt.report.run import arms_of, load_run, load_runs
from dftt.report.words import shortened, visible
from dftt.types.arms import Arm
from tests.written_runs import ARMS, made_record, made_trace, small_run, write_run

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</textarea></pre></script><img src=x onerror=alert(1)>",
    "</title><style>*{display:none}</style>",
    "safe\u202etxt.exe\u2066 \u200f\u0000\x1b[31m",
    "x" * 1_000_000,
    '"><a href="https://example.org/">{{7*7}}</a><!--',
    "\ud800 half a pair",
)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the text in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, name: str) -> int:
        return sum(element == name for element, _ in self.elements)


def text_of(*folders: Path) -> str:
    return make_page(load_runs(folders))[0]


def page_of(*folders: Path) -> Page:
    return Page(text_of(*folders))


def names(page: Page) -> list[str]:
    return [name for name, _ in page.elements]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its verdict, its page and its figures."""
    folder = tmp_path_factory.mktemp("study")
    small_study(folder)
    write_report([folder])
    return folder


@pytest.fixture(scope="module")
def written(study: Path) -> str:
    return (study / "report.html").read_text(encoding="utf-8")


# -- what it says ------------------------------------------------------------------------------------------------------


def test_every_section_and_figure_is_there(study: Path, written: str) -> None:
    page = Page(written)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"head", "tau", "guidance", "adaptation", "budget", "errors", "tokens", "answers"} <= ids
    assert page.open == []
    assert page.count("figure") == page.count("svg") == len(list((study / "figures").glob("*.svg")))
    assert "bundled:smollm2-135m" in page.text
    assert "cli.py test --x 'a b'" in page.text
    assert "Qwen3-8B, DFlash block 16" in page.text


def test_tau_in_the_page_is_that_of_the_summary(study: Path, written: str) -> None:
    page = Page(written)
    for row in summarise(load_run(study).records, "speculative+none"):
        if row["arm"] != "target":
            assert f"{row['tau']:.3f} [{row['tau_low']:.3f}, {row['tau_high']:.3f}]" in page.text


def test_figures_are_saved_as_svg_png_and_csv(study: Path) -> None:
    drawn = sorted((study / "figures").glob("*.svg"))
    assert {"tau", "losses", "pass_rate_by_alpha", "slot_acceptance"} <= {path.stem for path in drawn}
    for path in drawn:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in path.read_text(encoding="utf-8")
        with Image.open(path.with_suffix(".png")) as image:
            assert len(image.convert("L").getcolors(256) or []) > 2
        with path.with_suffix(".csv").open(encoding="utf-8") as file:
            assert list(csv.DictReader(file))


def test_slot_acceptance_is_of_the_steps_that_reached_the_slot(tmp_path: Path) -> None:
    record = made_record(0, "speculative+none")
    fixed = [type(record)(**{**record.to_json(), "acceptance_lengths": (1, 3, 3, 2)})]
    write_report([write_run(tmp_path, fixed)])
    with (tmp_path / "figures" / "slot_acceptance.csv").open() as file:
        rows = [(row["slot"], row["reached"], float(row["accepted"])) for row in csv.DictReader(file)]
    assert rows == [("1", "4", 0.75), ("2", "3", pytest.approx(2 / 3))]


def small_study(folder: Path) -> list[str]:
    """A run with its arms and its verdict; the verdict's sentences."""
    return str(write_verdict(small_run(folder))).splitlines()


def test_the_verdict_is_at_the_head_with_its_comparisons(tmp_path: Path) -> None:
    """Reports once said "verdict.json holds no sentence" of every study."""
    sentences = small_study(tmp_path)
    page = page_of(tmp_path)
    assert len(sentences) == 2
    assert all(sentence in page.text for sentence in sentences)
    assert "n = " in sentences[0]
    run = load_run(tmp_path)
    for each in run.judgement.comparisons:
        named = f"{run.words[each.arm]}{run.words[each.reference]}"
        assert f"{named}{each.pair.measure}{each.interval.estimate:+.3f}" in page.text.replace("\n", "")


def test_the_first_screen_names_arms_in_words(written: str) -> None:
    """Before anything that is folded away, no id of an arm is shown; one figure for each question."""
    shown, _, _ = written.partition('<section id="tau">')
    unfolded = Page(re.sub(r"<details>.*?</details>", "", shown, flags=re.DOTALL))
    assert "“sped up by the adapted draft” against “sped up by the plain draft”, tau +" in unfolded.text
    assert not [arm for arm in ARMS if "+" in arm and arm in unfolded.text]
    assert [attributes["id"] for name, attributes in unfolded.elements if name == "figure"] == [
        "figure-verdict_tau",
        "figure-verdict_guidance",
    ]


def test_long_tables_are_folded(written: str) -> None:
    unfolded = Page(re.sub(r"<details>.*?</details>", "", written, flags=re.DOTALL))
    assert unfolded.count("table") == 0


def test_ids_of_a_page_are_unique_and_links_end_in_them(tmp_path: Path) -> None:
    page = page_of(small_run(tmp_path / "one"), small_run(tmp_path / "two", tasks=4))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {(attributes.get("href") or "").removeprefix("#") for _, attributes in page.elements} - {""}
    assert wanted <= set(ids)


def test_the_same_records_make_the_same_files(tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        write_report([small_run(folder / "run", tasks=2, arms=ARMS[1:3])])
        made = [folder / "run" / "report.html", *(folder / "run" / "figures").iterdir()]
        return {path.name: path.read_bytes() for path in made}

    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_page_loads_nothing(written: str) -> None:
    for _, attributes in Page(written).elements:
        assert (attributes.get("href") or "#").startswith("#")
        assert "src" not in attributes


def test_figures_take_the_colours_of_the_page(written: str) -> None:
    """A fixed colour could not be read on the dark page, or on the light one."""
    drawn = re.findall(r"<svg.*?</svg>", written, flags=re.DOTALL)
    assert len(drawn) > 10
    for svg in drawn:
        assert re.findall(r"(?:fill|stroke): #", svg) == []
        assert "var(--ink)" in svg


def test_labels_are_text_and_no_formulas() -> None:
    rows = [{"label": "costs $x_1$ & <b> τ 中", "x": x, "y": x} for x in (0, 1)]
    figure = Figure("name", "title", rows, lines(rows, x="x", y="y"))
    assert "costs $x_1$ &amp; &lt;b&gt; τ 中" in figure.inline()
    assert figure.written("png").startswith(b"\x89PNG")


def test_a_verdict_of_fewer_records_is_not_what_is_shown(tmp_path: Path) -> None:
    """A study that went on and was stopped again has more records than its verdict.json knows of."""
    small_study(tmp_path)
    more = [made_record(task, arm) for task in range(8, 20) for arm in ARMS]
    with (tmp_path / "records.0.jsonl").open("a") as file:
        file.writelines(json.dumps(record.to_json()) + "\n" for record in more)
    (tau, *_) = load_run(tmp_path).judgement.comparisons
    assert tau.interval.n == 20


def test_arms_stand_in_the_order_of_the_study(tmp_path: Path) -> None:
    small_study(tmp_path)
    rest = [arm for arm in ARMS if arm != "speculative+none"]
    assert [arm.arm.id for arm in arms_of([load_run(tmp_path)])] == ["speculative+none", *rest]


def figure_rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "figures" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("tasks", "known"), [(9, False), (24, True)])
def test_a_group_of_few_contexts_has_no_interval(tmp_path: Path, tasks: int, known: bool) -> None:
    """Two tasks share a context, and three classes of length share the tasks."""
    page = Page(write_report([small_run(tmp_path, tasks=tasks)]).read_text(encoding="utf-8"))
    assert {bool(row["low"]) for row in figure_rows(tmp_path, "tau_by_length")} == {known}
    assert ("no interval below 5 contexts" in page.text) != known


def test_arms_under_the_same_adaptations_are_one_line(tmp_path: Path) -> None:
    """The wrong context's adaptations are those of the study's contexts in another order."""
    records = [made_record(task, "speculative+own") for task in (0, 2)]
    swapped = [
        replace(mine, arm="speculative+wrong", adaptation=other.adaptation)
        for mine, other in zip(records, reversed(records), strict=True)
    ]
    write_report([write_run(tmp_path, [*records, *swapped])])
    assert {row["arm"] for row in figure_rows(tmp_path, "losses")} == {"speculative+own and 1 more"}


def test_the_gain_is_shown_against_each_setting_that_varies(tmp_path: Path) -> None:
    changes = ({}, {"steps": 3}, {"window": 40}, {"loss": "ce"})
    arms = (Arm(), *(Arm(ttt="own", ttt_overrides=change) for change in changes))
    adapted = [made_record(task, "speculative+own") for task in range(4)]
    records = [made_record(task, "speculative+none") for task in range(4)]
    records += [replace(made, arm=arm.id) for arm in arms[1:] for made in adapted]
    write_report([write_run(tmp_path, records, arms=arms)])
    assert {row["steps"] for row in figure_rows(tmp_path, "gain_by_steps")} == {"3", "12"}
    assert {row["window"] for row in figure_rows(tmp_path, "gain_by_window")} == {"0", "40"}
    by_loss = figure_rows(tmp_path, "gain_by_loss")
    assert {row["loss"] for row in by_loss} == {"ce", "kl"}
    assert len({row["line"] for row in by_loss}) == 1  # other settings were tried under one loss


def test_unscored_answers_are_named_with_their_reason(tmp_path: Path) -> None:
    page = page_of(small_run(tmp_path, tasks=8))
    assert f"Unscored: {len(ARMS)} of {8 * len(ARMS)} answers" in page.text
    assert "no judge" in page.text


def test_several_runs_are_told_apart(tmp_path: Path) -> None:
    page = page_of(small_run(tmp_path / "one"), small_run(tmp_path / "two", tasks=4))
    assert "one: sped up by the adapted draft" in page.text
    assert "two: sped up by the adapted draft" in page.text
    assert "two: speculative+own" in page.text  # as the files of figures have it


@pytest.mark.parametrize("arms", [("target",), ("speculative+own",), ("speculative+none",)])
def test_one_arm_alone_makes_a_report(tmp_path: Path, arms: Sequence[str]) -> None:
    assert page_of(small_run(tmp_path, arms=arms, tasks=1)).open == []


def test_a_run_of_nothing_but_errors_makes_a_report(tmp_path: Path) -> None:
    record = made_record(6, "speculative+own")
    row = record.to_json() | {"acceptance_lengths": (), "token_ids": (), "adaptation": {}, "finish_reason": "error"}
    page = page_of(write_run(tmp_path, [type(record)(**row)]))
    assert "there is no acceptance length" in page.text


# -- model text --------------------------------------------------------------------------------------------------------


def said_everywhere(folder: Path, said: str) -> Path:
    """A run in which a model's words stand wherever they may."""
    records = [
        type(made)(**{**made.to_json(), "explanation": said, "metadata": {"category": f"{said}{task}"}})
        for task in (0, 1)
        for made in (made_record(task, arm, answer=said) for arm in ARMS[1:5])
    ]
    return write_run(folder, records, [made_trace(record, texts=(said, *"abcdefgh")) for record in records])


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(said_everywhere(tmp_path_factory.mktemp("plain") / "run", "harmless"))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_changes_nothing(tmp_path: Path, harmless: Page, text: str) -> None:
    """The same elements with the same attributes as with harmless text."""
    written = text_of(said_everywhere(tmp_path / "run", text))
    page = Page(written)
    outline = lambda one: [(name, sorted(attributes)) for name, attributes in one.elements]  # noqa: E731
    assert outline(page) == outline(harmless)
    assert page.count("script") == 2
    assert "img" not in names(page)
    assert "\u202e" not in written
    assert "\x1b" not in written
    assert len(written) < 1_000_000


def test_unseen_marks_are_written_out() -> None:
    assert visible("a\u202eb\u0000") == "a⟨U+202E⟩b⟨U+0000⟩"
    assert visible("ordinary\ttext\n") == "ordinary\ttext\n"


def test_templates_escape_text_and_show_unseen_marks() -> None:
    written = environment().from_string('<p title="{{ x }}">{{ x }}</p>').render(x='"<b>&\u202e')
    shown = "&#34;&lt;b&gt;&amp;⟨U+202E⟩"
    assert written == f'<p title="{shown}">{shown}</p>'


def test_embedded_data_cannot_end_its_element_and_reads_back() -> None:
    value = {"text": "</script><!-- <script> & \u2028 \ud800"}
    written = environment().from_string("{{ value | tojson }}").render(value=value)
    assert not {"<", ">", "&", "\u2028"} & set(written)
    assert json.loads(written) == value


def test_long_text_is_shortened_and_says_so() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("a" * 1000, 3) == "aaa … (1,000 characters in all)"


# -- traces ------------------------------------------------------------------------------------------------------------


def test_traces_of_older_answers_are_left_out(tmp_path: Path) -> None:
    record = made_record(0, "guided@0.2+own")
    trace = made_trace(record)
    folder = write_run(tmp_path, [type(record)(**{**record.to_json(), "spec_hash": "new"})], [trace])
    assert load_run(folder).traces == {}


def test_a_half_written_trace_is_passed_over(tmp_path: Path) -> None:
    folder = small_run(tmp_path)
    with (folder / "traces.0.jsonl").open("a") as file:
        file.write('{"task_id": "task 0", "arm"')
    assert len(load_run(folder).traces) == 2 * len(ARMS)


def test_gzipped_records_and_traces_make_the_same_report(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run")
    plain = text_of(folder)
    for path in (folder / "records.0.jsonl", folder / "traces.0.jsonl"):
        path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert text_of(folder) == plain


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_where_the_report_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_run(tmp_path / "run")
    main([str(tmp_path / "run"), "--out", str(tmp_path / "pages" / "r.html")])
    assert capsys.readouterr().out == f"report: {tmp_path / 'pages' / 'r.html'}\n"
    assert (tmp_path / "pages" / "figures" / "tau.csv").is_file()


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [("missing", "no folder at"), ("empty", "holds no records"), ("twice", "named twice"), ("json", "verdict.json")],
)
def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, complaint: str) -> None:
    folder = tmp_path / broken
    if broken != "missing":
        folder.mkdir()
    if broken in ("twice", "json"):
        small_run(folder)
        (folder / "verdict.json").write_text("{" if broken == "json" else "{}")
    with pytest.raises(SystemExit) as stopped:
        main([str(folder), *([str(folder)] if broken == "twice" else [])])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert complaint in said
    assert said.count("\n") == 1
