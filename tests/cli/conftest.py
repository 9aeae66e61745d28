"""What all tests of bad input share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Commands


@pytest.fixture
def refused(commands: Commands, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The line that a subcommand with these flags on good contexts is refused with."""

    def line(subcommand: str, *flags: str, data: Path | None = None) -> str:
        return commands.refused(
            capfd, *commands.arguments(subcommand, *flags, data=data if data is not None else commands.contexts())
        )

    return line
