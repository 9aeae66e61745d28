"""What each arm of a study was, beside its records: names alone do not say it all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dftt.evaluation.verdict import ARMS_FILE
from dftt.study.arms import Arm
from dftt.types import DecodingSpec, TTTSpec


def describe(arm: Arm, ttt: TTTSpec, decoding: DecodingSpec) -> dict[str, Any]:
    """Id and settings of an arm, the study's own filled in.

    `ttt_settings` is None where nothing is adapted, `temperature` where each task has its own.
    """
    spec = arm.decoding(decoding)
    return {
        "id": arm.id,
        "mode": arm.mode,
        "ttt": arm.ttt,
        "alpha": arm.alpha,
        "temperature": None if arm.matched_to else spec.temperature,
        "top_p": spec.top_p,
        "guidance": arm.guidance,
        "parameters": arm.parameters,
        "matched_to": arm.matched_to,
        "taps": arm.taps,
        "rounds": arm.rounds,
        "ttt_settings": None if arm.ttt == "none" else {**asdict(ttt), **arm.ttt_overrides},
    }


def write_arms(folder: Path, arms: Sequence[Arm], ttt: TTTSpec, decoding: DecodingSpec) -> None:
    """Write the descriptions of a study's arms into the folder of its records."""
    rows = [describe(arm, ttt, decoding) for arm in arms]
    (folder / ARMS_FILE).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
