"""Folders of studies as `test` leaves them, made up without any model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dftt.study import Arm
from dftt.types import Record
from tests.written_runs import made_record, write_run

TARGET, NONE, OWN, WRONG = Arm("target"), Arm(), Arm(ttt="own"), Arm(ttt="wrong")
GUIDED = tuple(Arm("guided", ttt, alpha) for alpha in (0.2, 0.5) for ttt in ("none", "own"))
CAD = Arm("guided", "none", 1.0, guidance={"rule": "cad"})
NOISE = Arm("guided", "none", 0.2, guidance={"rule": "noise_norm"})
LOSSLESS = (NONE, OWN, WRONG)
CONTROLS = (
    Arm("guided", "wrong", 0.5),
    Arm("guided", "own", -0.5, guidance={"rule": "own_minus_other"}),
    Arm("target", matched_to=GUIDED[1].id),
    Arm("power", parameters={"alpha": 4.0, "blocks": 4, "steps": 2}),
)
ARMS = (TARGET, *LOSSLESS, *GUIDED, CAD, NOISE, *CONTROLS)
TAU = {"none": 1.4, "own": 2.6, "wrong": 2.0, "shuffled": 1.8}


def study_record(
    task: int, arm: Arm, *, tau: Mapping[str, float] = TAU, rates: Mapping[str, float], answer: str
) -> Record:
    """The record of a task and arm; a task that passes at one rate passes at every higher one."""
    draws = random.Random(f"{task}/{arm.id}")
    mean = 1.0 if arm.mode == "target" else tau[arm.ttt]
    lengths = tuple(1 if mean == 1.0 else max(1, min(8, round(draws.gauss(mean, 0.8)))) for _ in range(12))
    scored, luck = task % 17 != 16, random.Random(f"luck {task}").random()
    passed = luck < rates.get(arm.id, 0.3) if scored else None
    made = made_record(task, "target" if arm.mode == "target" else f"{arm.mode}+{arm.ttt}", answer=answer)
    return replace(
        made,
        arm=arm.id,
        acceptance_lengths=lengths,
        passed=passed,
        statuses=() if passed is None else (passed,),
        metadata={**made.metadata, "suite": ("worlds", "nqswap")[task % 2]},
    )


def write_study(
    folder: Path,
    arms: Sequence[Arm] = ARMS,
    *,
    tasks: int = 40,
    tau: Mapping[str, float] = TAU,
    rates: Mapping[str, float] | None = None,
    answer: str = "The mayor counts goats.",
) -> Path:
    """A study of these arms: tau by what the draft was adapted to, pass rates by arm (0.3 where none is given)."""
    rates = {CAD.id: 0.9, GUIDED[1].id: 0.5} if rates is None else rates
    folder.mkdir(parents=True)
    records = [study_record(task, arm, tau=tau, rates=rates, answer=answer) for task in range(tasks) for arm in arms]
    return write_run(folder, records, arms=arms)
