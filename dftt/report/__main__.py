"""`python -m dftt.report RUN_DIR [RUN_DIR …]`: the report of runs from their records, without a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dftt.command import command_line
from dftt.report.page import write_report
from dftt.types.outputs import check_output_file


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report and say where, as `command_line` runs commands."""
    with command_line():
        path = _write(arguments)
        print(f"report: {path}")


def _write(arguments: Sequence[str] | None) -> Path:
    parser = argparse.ArgumentParser(prog="python -m dftt.report", description=__doc__)
    parser.add_argument(
        "run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="folder of a run; several are compared"
    )
    parser.add_argument("--out", type=Path, default=None, help="the page; default report.html in the first RUN_DIR")
    options = parser.parse_args(arguments)
    if options.out is not None:
        check_output_file("--out", options.out)
    return write_report(options.run_dirs, to=options.out)


if __name__ == "__main__":
    main()
