"""Which arms of a study play which part in the text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dftt.evaluation.verdict import ArmRow
from paper.quantities import Parts, comparison_name
from paper.studies import Selection, Study
from paper.trace import Ledger, Source

ANSWERING = ("guided", "power", "rerank")  # modes whose answers are not the target's own


@dataclass(frozen=True)
class Pair:
    """An arm and the one that it is compared with."""

    arm: str
    reference: str


@dataclass(frozen=True)
class Trio:
    """The arms that the verdict on tau rests on: without TTT, adapted to the own context and, if there, to another."""

    none: str
    own: str
    wrong: str | None


# -- questions ---------------------------------------------------------------------------------------------------------


def tau_source(study: Study) -> Source:
    """The verdict on tau, from the lossless arms."""
    return _verdict(study, "tau", (row for row in study.arms if row["mode"] == "speculative"))


def guidance_source(study: Study) -> Source:
    """The verdict on guidance by the draft, from all arms; it leaves out those that the draft does not guide."""
    return _verdict(study, "guidance", study.arms)


def others_source(ledger: Ledger, study: Study) -> Source | None:
    """All other comparisons of answers (rules without the draft, controls, baselines); None where there are none.

    Each arm is compared with the target's own answers. Besides, a guided arm is compared with the target at the
    temperature that was matched to it, and with the same guidance by a draft that was adapted to another context.
    """
    asked = {pair.arm for pair in pairs_of(ledger.parts(guidance_source(study)))}
    pairs = []
    for row in study.arms:
        target = target_of(study, row)
        if row.get("matched_to"):
            pairs.append([row["matched_to"], row["id"]])
        elif row["mode"] in ANSWERING and row["id"] not in asked and target is not None:
            pairs.append([row["id"], target["id"]])
        if row["mode"] == "guided" and row["ttt"] == "wrong" and (own := alike(study, row, "own")) is not None:
            pairs.append([own["id"], row["id"]])
    chosen = Selection(tuple(dict.fromkeys(name for pair in pairs for name in pair)))
    return Source(study, "against_target", chosen, {"pairs": pairs}) if pairs else None


def questions_of(ledger: Ledger, study: Study) -> dict[str, Source]:
    """The questions that a study can answer: tau, guidance, others."""
    scored = any(record.passed is not None for record in study.run.records)
    asked = {"tau": tau_source(study)}
    if scored:
        asked |= {"guidance": guidance_source(study)}
        if (others := others_source(ledger, study)) is not None:
            asked |= {"others": others}
    return {name: source for name, source in asked.items() if ledger.parts(source).get("comparisons")}


def question_of(ledger: Ledger, study: Study, pair: Pair) -> Source | None:
    """The question about answers that a pair was compared for."""
    for name, source in questions_of(ledger, study).items():
        if name != "tau" and comparison_name(pair.arm, pair.reference, "estimate") in ledger.parts(source):
            return source
    return None


def asks_tau(ledger: Ledger, study: Study) -> bool:
    """Whether a study can answer what TTT does to tau."""
    return "tau" in questions_of(ledger, study)


# -- pairs -------------------------------------------------------------------------------------------------------------


def pairs_of(parts: Parts) -> list[Pair]:
    """The comparisons among the parts of a verdict, in its order."""
    found = []
    for name in parts:
        arm, against, rest = name.partition(" against ")
        reference, _, part = rest.rpartition(": ")
        if against and part == "estimate":
            found.append(Pair(arm, reference))
    return found


def of_kind(study: Study, pairs: Sequence[Pair], arm: str, reference: str) -> list[Pair]:
    """The pairs whose drafts were adapted to this and that: none, own, wrong or shuffled."""
    return [
        pair for pair in pairs if (study.row(pair.arm)["ttt"], study.row(pair.reference)["ttt"]) == (arm, reference)
    ]


def largest(parts: Parts, pairs: Sequence[Pair]) -> Pair | None:
    """The pair with the largest effect; None where there is none."""
    return max(pairs, key=lambda pair: _effect(parts, pair), default=None)


def trio_of(ledger: Ledger, study: Study) -> Trio | None:
    """The arms that the verdict on tau rests on; None where the study does not ask it."""
    if not asks_tau(ledger, study):
        return None
    parts = ledger.parts(tau_source(study))
    pairs = pairs_of(parts)
    best = largest(parts, of_kind(study, pairs, "own", "none"))
    if best is None:
        return None
    controls = [pair for pair in of_kind(study, pairs, "own", "wrong") if pair.arm == best.arm]
    return Trio(best.reference, best.arm, controls[0].reference if controls else None)


def base_of(study: Study, row: ArmRow) -> ArmRow | None:
    """The arm of the same mode and settings without TTT; None for an arm without TTT itself."""
    return None if row["ttt"] == "none" else alike(study, row, "none")


def alike(study: Study, row: ArmRow, ttt: str) -> ArmRow | None:
    """The arm that differs in what the draft was adapted to; how it was adapted says nothing where it is not."""
    same = ["mode", "alpha", "temperature", "top_p", "guidance", "parameters", "taps"]
    same += [] if "none" in (ttt, row["ttt"]) else ["ttt_settings", "rounds"]
    return next(
        (each for each in study.arms if each["ttt"] == ttt and all(each.get(x) == row.get(x) for x in same)), None
    )


def target_of(study: Study, row: ArmRow) -> ArmRow | None:
    """The arm that gives the target's own answers at an arm's temperature, chosen as the verdict does."""
    same = [
        each
        for each in study.arms
        if not each.get("matched_to") and all(each[name] == row[name] for name in ("temperature", "top_p"))
    ]
    for mode in ("target", "speculative"):
        for each in same:
            if each["mode"] == mode and each["ttt"] == "none":
                return each
    return None


def _verdict(study: Study, question: str, rows: Iterable[ArmRow]) -> Source:
    return Source(study, "verdict", Selection(tuple(row["id"] for row in rows)), {"question": question})


def _effect(parts: Parts, pair: Pair) -> float:
    value = parts.get(comparison_name(pair.arm, pair.reference, "estimate"))
    return float(value) if isinstance(value, float | int) else -math.inf
