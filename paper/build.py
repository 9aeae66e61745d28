"""`python -m paper.build RUN_DIR [RUN_DIR …]`: the manuscript of studies, from their records alone.

The folder it writes holds all that TeX needs: numbers.tex (every number in the text), tables, figures, the text itself,
and trace.json, which says of every number which records it was made from and how.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from paper.answers import write_answers
from paper.engine import SKIPPED, find_engine, make_pdf
from paper.figures import write_figures
from paper.numbers import write_numbers
from paper.studies import load_studies
from paper.tables import write_tables
from paper.trace import TRACE_FILE, Ledger

HERE = Path(__file__).parent
TEXT = ("main.tex", "references.bib", "sections")
MARK = "BUILT.txt"  # in every folder that was built: it may be replaced


def build(folders: Sequence[str | Path], out: str | Path) -> Ledger:
    """Write the manuscript's sources into a folder; what an earlier build left there is replaced.

    Args:
        folders: Of studies; the text is about the first that can answer each question, tables are about all.
        out: Where to write.

    Raises:
        ValueError: A study cannot be read, or `out` holds something else than an earlier build; the message names it.
    """
    studies, out, ledger = load_studies(folders), Path(out), Ledger()
    _clear(out)
    write_numbers(ledger, studies)
    write_tables(ledger, studies, out / "tables")
    write_figures(ledger, studies, out / "figures")
    write_answers(ledger, studies, out / "answers.tex")
    ledger.save(out)
    for name in TEXT:
        copy = shutil.copytree if (HERE / name).is_dir() else shutil.copy
        copy(HERE / name, out / name)
    return ledger


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise ValueError(f"paper: {out} is not empty and no earlier build of the manuscript; name another folder")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("Made by `python -m paper.build`; the next build replaces this folder.\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, and say where; bad input prints one line and exits with 2, a failing TeX engine with 1."""
    parser = argparse.ArgumentParser(prog="python -m paper.build", description=__doc__)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="folder of a study")
    parser.add_argument("--out", type=Path, default=HERE / "build", help="folder to write; default paper/build")
    parser.add_argument("--pdf", action="store_true", help="also run a TeX engine, where there is one")
    options = parser.parse_args(arguments)
    try:
        ledger = build(options.run_dirs, options.out)
    except ValueError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(2)
    print(f"manuscript: {options.out} ({len(ledger.entries)} numbers, each in {TRACE_FILE})")
    if not options.pdf:
        return
    engine = find_engine()
    if not engine:
        print(SKIPPED)
        return
    try:
        print(f"PDF: {make_pdf(options.out, engine)} ({engine})")
    except ValueError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
