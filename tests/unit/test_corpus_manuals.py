"""Passages from source distributions: what is read, what is refused, and what is left out. No network."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

from dftt_tools.corpus import manuals
from dftt_tools.corpus.manuals import (
    PIECE_CHARS,
    Passage,
    choose,
    download,
    is_manual,
    is_prose,
    licence_of,
    main,
    normalise,
    read_archive,
    split,
    write,
)

SENTENCE = "The reader of this manual should know that a kettle can be used in more than one way. "
PROSE = "\n\n".join(f"Part {number}. " + SENTENCE * 4 for number in range(12))


def make_archive(folder: Path, name: str, files: dict[str, str], licence: str = "License-Expression: MIT") -> Path:
    """A source distribution `name-1.0.tar.gz` with the given files in its top folder."""
    archive = folder / f"{name}-1.0.tar.gz"
    info = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n\nAbout."
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in {"PKG-INFO": info, **files}.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            data = text.encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive


def headers(text: str) -> str:
    """The licence read from a PKG-INFO with these headers."""
    return licence_of(HeaderParser().parsestr(f"Name: kettle\nVersion: 1.0\n{text}\n\n"))


def test_archive_gives_prose_of_docs_and_readme_in_path_order(tmp_path: Path) -> None:
    archive = make_archive(
        tmp_path,
        "Kettle",
        {
            "docs/b.rst": PROSE + " B",
            "docs/a.md": PROSE + " A",
            "README.md": PROSE + " R",
            "docs/changelog.rst": PROSE,
            "docs/short.txt": "Too short.",
            "src/kettle/notes.md": PROSE,
            "docs/conf.py": "x = 1\n" * 900,
            "docs/table.rst": "0x1f 0x2e 0x3d | 17 | 29 | 31\n" * 200,
        },
    )
    passages = read_archive(archive)
    assert [passage.id for passage in passages] == [
        "kettle-1.0/README.md#0",
        "kettle-1.0/docs/a.md#0",
        "kettle-1.0/docs/b.rst#0",
    ]
    assert {(passage.source, passage.licence) for passage in passages} == {("pypi:kettle==1.0", "MIT")}


@pytest.mark.parametrize("mark", ["PEP: 999\nTitle: x", "as in ERC-20", "See vLLM.", "the Cairn rules"])
def test_evaluation_documents_are_left_out(tmp_path: Path, mark: str) -> None:
    assert read_archive(make_archive(tmp_path, "kettle", {"docs/a.md": f"{PROSE}\n{mark}\n"})) == []


def test_licence_is_read_from_expression_classifier_or_field() -> None:
    assert headers("License-Expression: MIT OR Apache-2.0") == "MIT OR Apache-2.0"
    assert headers("License: long text\nClassifier: License :: OSI Approved :: BSD License") == "BSD"
    assert headers("License: Apache License 2.0") == "Apache-2.0"


@pytest.mark.parametrize(
    "text",
    [
        "License: GPL-3.0",
        "License-Expression: MIT AND LGPL-2.1",
        "Summary: none",
        "License-Expression: MPL-2.0",
    ],
)
def test_licence_that_is_not_permissive_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"kettle==1\.0: licence .* is not clearly permissive"):
        headers(text)


def test_archive_without_metadata_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "bare-1.0.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(ValueError, match="no PKG-INFO"):
        read_archive(archive)


def test_pieces_keep_all_paragraphs_and_the_limit() -> None:
    text = "\n\n".join(f"{number} " + SENTENCE * 5 for number in range(120))
    pieces = split(text)
    assert "\n\n".join(pieces) == text
    assert max(map(len, pieces)) <= PIECE_CHARS
    assert min(map(len, pieces)) > 1_000
    assert all(len(piece) <= 100 for piece in split("x" * 950, limit=100))
    assert split("") == []


def test_normalise_drops_navigation() -> None:
    text = "A  \r\n\r\n\r\n\r\n.. _label:\n\n.. toctree::\n   :maxdepth: 2\n\n   one\n   two\n\nB\n"
    assert normalise(text) == "A\n\nB"


def test_prose_is_told_from_other_text() -> None:
    assert is_prose(PROSE)
    assert not is_prose("Der Kessel steht auf dem Herd und wird nicht bewegt, weil er heiss ist. " * 40)
    assert not is_prose("API\n\n.. autofunction:: one\n.. autofunction:: two\n" * 30)
    assert not is_prose("")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("k-1/docs/guide/a.rst", True),
        ("k-1/doc/a.txt", True),
        ("k-1/README.rst", True),
        ("k-1/NOTES.md", False),
        ("k-1/docs/releases/1.0.txt", False),
        ("k-1/docs/LICENSE.txt", False),
        ("k-1/docs/locale/de/a.md", False),
        ("k-1/tests/docs/a.md", False),
    ],
)
def test_only_documentation_paths_are_read(path: str, wanted: bool) -> None:
    assert is_manual(PurePosixPath(path)) is wanted


def test_choice_takes_turns_drops_duplicates_and_keeps_the_limit() -> None:
    def passage(name: str, text: str) -> Passage:
        return Passage(name, text, "pypi:x==1", "MIT")

    first = [passage("a0", "a" * 400), passage("a1", "b" * 400)]
    second = [passage("b0", "a" * 400 + "\n"), passage("b1", "c" * 400), passage("b2", "d" * 400)]
    assert [item.id for item in choose([first, second], 1)] == ["a0", "a1", "b1", "b2"]
    assert [item.id for item in choose([first, second], 0.001)] == ["a0", "a1"]


def test_output_is_the_same_bytes_for_the_same_passages(tmp_path: Path) -> None:
    passages = [Passage("kettle-1.0/docs/a.md#0", "Tëxt", "pypi:kettle==1.0", "MIT")]
    write(passages, tmp_path / "one.jsonl.gz")
    write(passages, tmp_path / "sub" / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "sub" / "two.jsonl.gz").read_bytes()
    with gzip.open(tmp_path / "one.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert json.loads(next(lines)) == {
            "id": "kettle-1.0/docs/a.md#0",
            "text": "Tëxt",
            "source": "pypi:kettle==1.0",
            "licence": "MIT",
        }


def test_a_package_that_fails_is_named_and_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_archive(tmp_path, "kettle", {"docs/a.md": PROSE})
    bad = make_archive(tmp_path, "urn", {"docs/a.md": PROSE}, licence="License: GPL-3.0")
    archives = {"kettle==1.0": good, "urn==1.0": bad}
    monkeypatch.setattr(manuals, "download", lambda package, _: archives[package])
    main(["--out", str(tmp_path / "out.jsonl.gz"), "--package", "urn==1.0", "--package", "kettle==1.0"])
    printed = capsys.readouterr()
    assert "1 passages of 1 packages" in printed.out
    assert printed.err.startswith("skipped urn==1.0: urn==1.0: licence 'GPL-3.0'")


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("vllm==1.0", "used for evaluation"),
        ("Speculators==0.1", "used for evaluation"),
        ("flask", "NAME==VERSION"),
    ],
)
def test_package_is_refused_before_any_download(tmp_path: Path, package: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        download(package, tmp_path)


def test_default_packages_are_pinned_and_different() -> None:
    names = [package.split("==")[0] for package in manuals.PACKAGES]
    assert len(names) == len(set(names)) >= 35
    assert all(package.count("==") == 1 for package in manuals.PACKAGES)


def test_passages_that_share_ten_evaluated_words_are_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, evaluation = tmp_path / "out.jsonl.gz", tmp_path / "evaluation.jsonl"
    ten = "One two three four five six seven eight nine ten"
    texts = {"shared": f"Before, {ten.upper()}!", "nine": f"Before {ten[:-4]}.", "other": PROSE}
    write([Passage(name, text, "pypi:x==1", "MIT") for name, text in texts.items()], out)
    evaluation.write_text("".join(json.dumps({field: ten}) + "\n" for field in ("text", "prompt", "question")))
    main(["--out", str(out), "--passages", str(out), "--drop-overlap", str(evaluation)])
    assert [passage.id for passage in manuals.read(out)] == ["nine", "other"]
    assert "2 passages of 1 packages, 0.0 MB of text, 1 dropped for overlap" in capsys.readouterr().out


@pytest.mark.parametrize("field", ["text", "prompt", "question"])
def test_each_evaluation_field_counts(tmp_path: Path, field: str) -> None:
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text(json.dumps({"id": "a", field: SENTENCE}) + "\n")
    passage = Passage("a", PROSE, "pypi:x==1", "MIT")
    assert manuals.drop_overlap([passage], [evaluation]) == []


def test_an_evaluation_row_without_text_is_named(tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text('{"id": "a"}\n')
    with pytest.raises(ValueError, match=r"evaluation\.jsonl, line 1: needs one of the strings text, prompt, question"):
        manuals.drop_overlap([], [evaluation])


def test_rows_that_are_not_passages_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: needs an object of id, licence, source, text"):
        manuals.read(path)
