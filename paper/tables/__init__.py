"""The manuscript's tables; every cell of them goes through the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paper.studies import Study
from paper.tables.acceptance import costs, tau, tau_by_group
from paper.tables.answers import guidance, mended
from paper.tables.comparisons import comparisons, findings, verdicts
from paper.tables.setup import groups, setup
from paper.trace import Ledger

TABLES = (setup, groups, tau, tau_by_group, costs, guidance, mended, verdicts, findings, comparisons)


def write_tables(ledger: Ledger, studies: Sequence[Study], folder: Path) -> None:
    """Write those tables that have rows, and say in the ledger's flags which these are."""
    folder.mkdir()
    for make in TABLES:
        made = make(ledger, studies)
        ledger.flags[made.flag] = bool(made.rows)
        if made.rows:
            made.save(folder)
