"""The judge against a server that is not ours: `transformers serve` with the bundled target."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dftt.judges.openai_compatible import OpenAIJudge
from dftt.models import bundled
from dftt.models.pair import BUNDLED

START_SECONDS = 120


@contextmanager
def transformers_serve(folder: str, log: Path) -> Iterator[str]:
    """URL of a running `transformers serve`; it is killed afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(sys.executable).with_name("transformers")
    command = [str(script), "serve", folder, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with log.open("w") as out, subprocess.Popen([*command, "--dtype", "float32"], stdout=out, stderr=out) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _wait(url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_replies_are_read_and_a_weak_model_gives_no_score(tmp_path: Path) -> None:
    """The bundled target hardly ever writes a verdict; each of its replies is read, and then said to be none."""
    folder = bundled.target_folder(BUNDLED)
    with transformers_serve(folder, tmp_path / "serve.log") as url:
        judge = OpenAIJudge(model=folder, base_url=url, options={"max_tokens": 24}, timeout=250.0)
        score = judge.judge(["names the river", "gives the year"], "The Aller, in 1911.")
    tokens = re.search(r"tokens: (\d+) in, (\d+) out", judge.usage())
    assert tokens is not None, judge.usage()
    assert int(tokens[1]) > 200  # the grading prompt arrived
    assert int(tokens[2]) > 0
    assert len(score.statuses) in (0, 2)
    assert (score.passed is None) == (score.statuses == ())
    if score.passed is None:
        assert "no reply" not in score.explanation
        assert "HTTP" not in score.explanation
