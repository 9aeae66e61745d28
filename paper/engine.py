"""The TeX engine, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_QUIET = ("-interaction=nonstopmode", "-halt-on-error")
_LAST = 30  # lines of a failed engine's output
SKIPPED = "PDF skipped: no TeX engine (latexmk, pdflatex or tectonic) found"


def find_engine() -> str:
    """latexmk, pdflatex or tectonic: the first that is there with what it needs; empty where none is."""
    if shutil.which("pdflatex") and shutil.which("bibtex"):
        return "latexmk" if shutil.which("latexmk") else "pdflatex"
    return "tectonic" if shutil.which("tectonic") else ""


def make_pdf(folder: Path, engine: str) -> Path:
    """Run an engine on main.tex of a folder and return main.pdf.

    Raises:
        ValueError: The engine failed; the message ends with the last lines that it said.
    """
    latex, bibtex = ["pdflatex", *_QUIET, "main.tex"], ["bibtex", "main"]
    commands = {
        "latexmk": [["latexmk", "-pdf", *_QUIET, "main.tex"]],
        "pdflatex": [latex, bibtex, latex, latex],
        "tectonic": [["tectonic", "--keep-logs", "main.tex"]],
    }[engine]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).decode("utf-8", errors="replace").splitlines()
            raise ValueError("\n".join([f"paper: {' '.join(command)} failed in {folder}", *said[-_LAST:]]))
    return folder / "main.pdf"
