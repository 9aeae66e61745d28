"""`dftt`, the same as `python -m dftt`: fit, validate, test and predict, and the other commands under short names."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "diagnostic": "dftt_tools.diagnostic.__main__",
    "export": "dftt.export",
    "report": "dftt.report.__main__",
    "rescore": "dftt.analysis.rescore",
    "synthesise": "dftt_tools.synthesise",
    "verdict": "dftt.analysis.verdict",
    "worlds": "dftt.suites.worlds.__main__",
}


def main() -> None:
    """Run the command that is named first."""
    _, *args = sys.argv
    module = COMMANDS.get(args[0], "") if args else ""
    import_module(module or "dftt.cli").main(args[1:] if module else args)


if __name__ == "__main__":
    main()
