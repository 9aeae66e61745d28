"""`python -m dftt.evaluation.report RUN_DIR [RUN_DIR …]`: the report of runs from their records, without a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dftt.evaluation.report.page import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report and say where; bad input prints one line and exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m dftt.evaluation.report", description=__doc__)
    parser.add_argument(
        "run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="folder of a run; several are compared"
    )
    parser.add_argument("--out", type=Path, default=None, help="the page; default report.html in the first RUN_DIR")
    options = parser.parse_args(arguments)
    try:
        path = write_report(options.run_dirs, to=options.out)
    except ValueError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(2)
    print(f"report: {path}")


if __name__ == "__main__":
    main()
