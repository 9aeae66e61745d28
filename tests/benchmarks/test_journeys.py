"""From a prompt to its token, and from a record to its number, it is a few frames and files."""

from __future__ import annotations

import pytest

from benchmarks.journeys import Journeys
from tests.commands import Commands


def test_both_journeys_are_short(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cli.py"])
    journeys = Journeys()
    journeys.predict(str(commands.root), commands.arguments("predict", data=commands.contexts())[1:])
    journeys.report(
        str(commands.root), commands.arguments("test", "--model.ttt.anchors=4", data=commands.contexts())[1:]
    )
    assert journeys.to_token[0] == ("cli.py", "main")
    assert journeys.to_token[-1] == ("decoding/queue.py", "decode_queue")
    assert len(journeys.to_token) <= 8
    assert len(journeys.files_to_token) <= 15
    assert "evaluator.py" in journeys.to_number
    assert len(journeys.to_number) <= 12
