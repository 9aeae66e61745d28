"""The manuscript is built from records alone, and every number in it can be made again from them."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dftt.analysis.frame import GROUPINGS
from dftt.study.records import load_records
from dftt.types import Record
from paper import engine
from paper.build import HERE, build, main
from paper.engine import SKIPPED, find_engine
from paper.figures import KINDS
from paper.numbers import write_numbers
from paper.quantities import QUANTITIES, Material, same
from paper.roles import questions_of, verdict_of
from paper.studies import load_studies
from paper.trace import TRACE_FILE, Ledger
from paper.verify import disagreements
from paper.verify import main as verify
from tests.paper.texts import macros_in, standing, typed_numbers
from tests.paper.written_studies import ARMS, CAD, GUIDED, LOSSLESS, NONE, OWN, TARGET, WRONG, write_study

SECTIONS = sorted((HERE / "sections").glob("*.tex"))
MEASURED = ("abstract", "results", "negative")  # what is said there is of this study alone
HOSTILE = (
    "\\end{document} $x_1$ 100% of {goats} & #1 ~^ `a' \u4e2d\u202e \x1b[31m caf\u00e9 τ → <b> \\input{/etc/passwd}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("runs") / "goats_1")


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ledger]:
    out = tmp_path_factory.mktemp("paper") / "build"
    return out, build([folder], out)


def entries_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / TRACE_FILE).read_text())["entries"]


def macro(ledger: Ledger, name: str) -> Any:
    """The value behind a macro."""
    return next(entry["value"] for entry in ledger.entries if entry["where"] == f"\\{name}")


def digest_of(records: Sequence[Record]) -> str:
    """As the trace has it."""
    lines = [json.dumps(record.to_json(), sort_keys=True) for record in records]
    return hashlib.sha256("\n".join(sorted(hashlib.sha256(x.encode()).hexdigest() for x in lines)).encode()).hexdigest()


# -- the trace ---------------------------------------------------------------------------------------------------------


def test_every_number_is_made_again_from_its_records(folder: Path, built: tuple[Path, Ledger]) -> None:
    (study,), everything = load_studies([folder]), load_records(folder)
    chosen: dict[str, Material] = {}
    made: dict[str, Mapping[str, Any]] = {}
    numbers = [entry for entry in entries_of(built[0]) if "figure" not in entry]
    assert len(numbers) > 300
    for entry in numbers:
        said, arms = entry["records"], entry["records"]["arms"]
        records_key = json.dumps(said)
        if records_key not in chosen:
            records = [record for record in everything if not arms or record.arm in arms]
            records = [each for each in records if not said["by"] or GROUPINGS[said["by"]](each) == said["group"]]
            assert (len(records), digest_of(records)) == (said["count"], said["sha256"])
            rows = [arm for arm in study.arms if not arms or arm.id in arms]
            chosen[records_key] = Material(study.run, records, rows)
        key = json.dumps([entry["quantity"], entry["arguments"], said])
        if key not in made:
            made[key] = QUANTITIES[entry["quantity"]](chosen[records_key], **entry["arguments"])
        assert same(made[key].get(entry["part"]), entry["value"]), entry["where"]


def test_figures_are_pdf_of_the_same_bytes_each_time(folder: Path, built: tuple[Path, Ledger], tmp_path: Path) -> None:
    """They once were hand-written PDF without words, which TeX set on top."""
    drawn = sorted((built[0] / "figures").glob("*.pdf"))
    assert [path.stem for path in drawn] == sorted(KINDS)
    build([folder], tmp_path / "again")
    for path in drawn:
        assert path.read_bytes().startswith(b"%PDF")
        assert path.read_bytes() == (tmp_path / "again" / "figures" / path.name).read_bytes()


def test_verify_agrees_with_what_was_built(folder: Path, built: tuple[Path, Ledger]) -> None:
    assert disagreements(entries_of(built[0]), load_studies([folder])) == []


def test_headline_numbers_are_those_of_plain_arithmetic(folder: Path, built: tuple[Path, Ledger]) -> None:
    records, ledger = load_records(folder), built[1]

    def tau(arm: str) -> float:
        lengths = [length for record in records if record.arm == arm for length in record.acceptance_lengths]
        return sum(lengths) / len(lengths)

    def rate(arm: str) -> float:
        passed = [record.passed for record in records if record.arm == arm and record.passed is not None]
        return sum(passed) / len(passed)

    expected = {
        "TauNone": tau(NONE.id),
        "TauOwn": tau(OWN.id),
        "TauWrong": tau(WRONG.id),
        "DeltaOwnNone": tau(OWN.id) - tau(NONE.id),
        "DeltaOwnWrong": tau(OWN.id) - tau(WRONG.id),
        "PassTarget": rate(TARGET.id),
        "DeltaCad": rate(CAD.id) - rate(TARGET.id),
        "TauTasks": 40,
        "PassTargetN": 38,
    }
    for name, value in expected.items():
        assert macro(ledger, name) == pytest.approx(value), name
        assert ledger.macros[name].strip("$+") == (f"{value:.2f}" if isinstance(value, float) else str(value))


def test_every_cell_with_a_digit_is_in_the_trace(built: tuple[Path, Ledger]) -> None:
    shown: dict[str, list[str]] = {}
    for entry in entries_of(built[0]):
        shown.setdefault(entry["where"], []).append(entry.get("shown", ""))
    tables = sorted((built[0] / "tables").glob("*.tex"))
    assert len(tables) == 10
    for path in tables:
        lines = path.read_text().splitlines()
        first = next(number for number, line in enumerate(lines) if "midrule" in line) + 1
        body = [line for line in lines[first:] if line.endswith(r"\\")]
        for row, line in enumerate(body, start=1):
            for column, cell in enumerate(line.removesuffix(r" \\").split(" & "), start=1):
                parts = shown.get(f"tables/{path.stem}, row {row}, column {column}", [])
                left = cell
                for part in parts:
                    assert part in cell
                    left = left.replace(part, "", 1)
                assert not re.search(r"\d", left), f"{path.stem}, row {row}: {cell}"


def test_every_macro_with_a_digit_is_in_the_trace(built: tuple[Path, Ledger]) -> None:
    shown: dict[str, list[str]] = {}
    for entry in built[1].entries:
        shown.setdefault(entry["where"], []).append(entry.get("shown", ""))
    for name, text in built[1].macros.items():
        assert text in (shown[f"\\{name}"][0], "[" + ", ".join(shown[f"\\{name}"]) + "]")


def test_a_changed_record_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_study(tmp_path / "study", (TARGET, *LOSSLESS), tasks=6), tmp_path / "out"
    build([folder], out)
    with pytest.raises(SystemExit, match="0"):
        verify([str(folder), "--out", str(out)])
    assert "numbers agree with the records" in capsys.readouterr().out
    path = folder / "records.0.jsonl"
    path.write_text(path.read_text().replace('"acceptance_lengths": [', '"acceptance_lengths": [8, ', 1))
    with pytest.raises(SystemExit, match="1"):
        verify([str(folder), "--out", str(out)])
    assert "are not those that it was made of" in capsys.readouterr().out


# -- the text ----------------------------------------------------------------------------------------------------------


def test_no_number_is_typed_by_hand_where_results_are_said() -> None:
    assert typed_numbers(r"12 pairs in \ref{tab:a1}, \TauOwn{} % 3") == ["12"]
    for name in MEASURED:
        assert typed_numbers((HERE / "sections" / f"{name}.tex").read_text()) == [], name


STUDIES: dict[str, Sequence[Any]] = {
    "all": ARMS,
    "no CAD": (TARGET, *LOSSLESS, *GUIDED),
    "no control": (TARGET, NONE, OWN),
    "tau alone": LOSSLESS,
    "guidance alone": (TARGET, *GUIDED),
    "guidance without TTT": (TARGET, GUIDED[0]),
    "the target alone": (TARGET,),
    "CAD alone": (TARGET, CAD),
}


@pytest.mark.parametrize("arms", STUDIES.values(), ids=STUDIES)
def test_a_study_without_some_arms_needs_no_number_of_theirs(arms: Sequence[Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ledger = build([write_study(tmp_path / "study", arms, tasks=6)], out)
    for path in SECTIONS:
        text = standing(path.read_text(), ledger.flags)
        assert macros_in(text) <= set(ledger.macros), path.name
        for name in re.findall(r"\\ref\{(?:tab|fig):(\w+)\}", text):
            found = any((out / path).is_file() for path in (f"tables/{name}.tex", f"figures/{name}.pdf"))
            assert found, f"{path.name} speaks of {name}"


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    ledger = build([write_study(tmp_path / "study", LOSSLESS, tasks=6)], tmp_path / "out")
    text = standing((HERE / "sections" / "results.tex").read_text(), ledger.flags)
    assert "this study says nothing about guidance" in text
    assert "\\paragraph{Context-aware decoding} was not measured" in text
    assert "GuidanceVerdict" not in text


@pytest.mark.parametrize(
    ("tau", "own_none", "own_wrong"),
    [
        ({"none": 1.5, "own": 2.9, "wrong": 2.2}, "above", "above"),
        ({"none": 1.5, "own": 2.5, "wrong": 3.1}, "above", "below"),
        ({"none": 3.5, "own": 2.5, "wrong": 2.5}, "below", "unknown"),
    ],
)
def test_the_text_follows_the_finding(tau: Mapping[str, float], own_none: str, own_wrong: str, tmp_path: Path) -> None:
    ledger = Ledger()
    write_numbers(ledger, load_studies([write_study(tmp_path / "study", LOSSLESS, tau=tau)]))
    assert ledger.macros["FindingOwnNone"] == own_none
    assert ledger.macros["FindingOwnWrong"] == own_wrong
    for name in ("FindingOwnNone", "FindingOwnWrong"):
        assert f"\\outcome{ledger.macros[name]}}}" in (HERE / "main.tex").read_text()


def test_rules_without_the_draft_are_no_evidence_for_the_draft(built: tuple[Path, Ledger]) -> None:
    ledger = built[1]
    assert ledger.macros["FindingCad"] == "above"
    assert "cad" not in ledger.macros["GuidanceVerdict"]
    # Four arms and own_minus_other against the target, two against those without TTT.
    assert macro(ledger, "GuidanceComparisons") == 7


def test_controls_and_baselines_have_their_own_references(folder: Path) -> None:
    (study,) = load_studies([folder])
    verdicts = [verdict_of(study, name) for name in questions_of(study)]
    made = {each.question: {(one.arm, one.reference) for one in each.comparisons} for each in verdicts if each}
    plain, adapted = GUIDED[0].id, GUIDED[1].id
    assert made["controls"] == {
        (adapted, f"target,T={adapted}"),
        (GUIDED[3].id, "guided@0.5+wrong"),
        (plain, "guided:noise_norm@0.2+none"),
        ("guided:noise_norm@0.2+none", "target"),
        ("guided@0.5+wrong", "target"),
    }
    assert made["baselines"] == {
        ("guided:cad@1+none", "target"),
        ("power+none,power.alpha=4,power.blocks=4,power.steps=2", "target"),
    }


def test_a_run_without_its_config_says_so(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", LOSSLESS, tasks=2)
    for name in ("config.yaml", "provenance.json"):
        (folder / name).unlink()
    ledger = Ledger()
    write_numbers(ledger, load_studies([folder]))
    text = standing((HERE / "sections" / "experiments.tex").read_text(), ledger.flags | {"TableGroups": False})
    assert "configuration of the run was not kept" in text
    assert "StudyTarget" not in text


def test_cited_works_are_in_the_bibliography() -> None:
    known = set(re.findall(r"@\w+\{(\w+),", (HERE / "references.bib").read_text()))
    cited = {
        key.strip()
        for path in SECTIONS
        for keys in re.findall(r"\\cite[pt]?\{([^}]*)\}", path.read_text())
        for key in keys.split(",")
    }
    assert cited == known


# -- input and output --------------------------------------------------------------------------------------------------


def test_model_text_is_only_ever_text(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "goats_#1 & $co", (TARGET, CAD), tasks=6, rates={CAD.id: 1.0}, answer=HOSTILE)
    build([folder], tmp_path / "out")
    written = (tmp_path / "out" / "answers.tex").read_text()
    assert r"\textbackslash{}end\{document\}" in written
    assert "\\end{document}" not in written
    assert r"caf\'{e}" in written
    assert "U+4E2D" in written
    assert written.isascii()
    assert r"goats\_\allowbreak{}\#1 \& \$co" in (tmp_path / "out" / "tables" / "setup.tex").read_text()


def test_answers_of_clbench_are_not_printed(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", (TARGET, CAD), tasks=6, rates={CAD.id: 1.0}, answer="secret goats")
    path = folder / "records.0.jsonl"
    path.write_text(re.sub(r'"suite": "\w+"', '"suite": "clbench"', path.read_text()))
    ledger = build([folder], tmp_path / "out")
    assert not ledger.flags["AnswersShown"]
    assert all("secret" not in file.read_text() for file in (tmp_path / "out").rglob("*.tex"))


def test_gzipped_records_are_read(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", LOSSLESS, tasks=4)
    (plain,) = load_studies([folder])
    path = folder / "records.0.jsonl"
    path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    (packed,) = load_studies([folder])
    assert (packed.name, packed.run.records, packed.arms) == (plain.name, plain.run.records, plain.arms)


def test_several_studies_share_the_tables(tmp_path: Path) -> None:
    first = write_study(tmp_path / "taus", LOSSLESS, tasks=6)
    second = write_study(tmp_path / "answers", (TARGET, *GUIDED), tasks=6)
    ledger = build([first, second], tmp_path / "out")
    assert "taus" in ledger.macros["TauStudy"]
    assert "answers" in ledger.macros["GuidanceStudy"]
    verdicts = (tmp_path / "out" / "tables" / "verdicts.tex").read_text()
    assert verdicts.count(r"\multicolumn") == 2
    assert disagreements(ledger.entries, load_studies([first, second])) == []
    assert any("name its folder, too" in line for line in disagreements(ledger.entries, load_studies([first])))


def test_a_folder_of_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="name another folder"):
        build([folder], tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "study", LOSSLESS, tasks=2)
    (folder / "arms.json").unlink()
    with pytest.raises(SystemExit, match="2"):
        main([str(folder), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().err.strip().endswith("name the folder of a study that `test` has run")


def test_without_an_engine_the_pdf_is_skipped_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = write_study(tmp_path / "study", (TARGET,), tasks=2)
    main([str(folder), "--out", str(tmp_path / "out"), "--pdf"])
    assert capsys.readouterr().out.strip().splitlines()[-1] == SKIPPED


@pytest.mark.slow
@pytest.mark.skipif(not find_engine(), reason="no TeX engine: latexmk, pdflatex or tectonic")
@pytest.mark.parametrize("arms", [ARMS, (TARGET, CAD), LOSSLESS], ids=["all", "CAD alone", "tau alone"])
def test_the_pdf_builds(arms: Sequence[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "goats_#1", arms, rates={CAD.id: 0.9}, answer=HOSTILE)
    main([str(folder), "--out", str(tmp_path / "out"), "--pdf"])
    assert "PDF: " in capsys.readouterr().out
    log = (tmp_path / "out" / "main.log").read_text(errors="replace")
    assert "Overfull" not in log
    assert "undefined" not in log
    assert (tmp_path / "out" / "main.pdf").read_bytes().startswith(b"%PDF")


def test_a_failing_engine_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, b"! LaTeX Error: File `booktabs.sty' not found.", b"")

    monkeypatch.setattr(engine.subprocess, "run", fail)
    with pytest.raises(ValueError, match=r"pdflatex .* failed in .*\n! LaTeX Error: File `booktabs.sty' not found."):
        engine.make_pdf(tmp_path, "pdflatex")
