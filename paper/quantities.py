"""What the manuscript's numbers are: each made from selected records by the functions that made the study's report.

A quantity is a function of the material (records and arms that a selection chose, and the run they are of) and of
arguments that JSON can hold; it returns named parts. A trace names the quantity, the arguments and the selection, so
that anyone can make the number again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from dftt.analysis.arm_roles import Measure, pairs_of
from dftt.analysis.comparison import MARGINS, MAX_UNSCORED, MIN_CONTEXTS, MIN_PAIRS, Comparison, compare
from dftt.analysis.decision_tables import WORTHWHILE_TAU
from dftt.analysis.summary import summarise
from dftt.analysis.taxonomy import transitions
from dftt.analysis.verdict import Verdict
from dftt.report.costs import cost_of
from dftt.report.run import Run
from dftt.scoring.error_classes import classify_all
from dftt.types import Record
from dftt.types.arms import Arm
from paper.studies import rule_of
from paper.tex import Value

Parts = Mapping[str, Value]
FINDINGS = ("above", "below", "equal", "unclear", "too few")


@dataclass(frozen=True)
class Material:
    """What a quantity is made from.

    Args:
        run: The run: its files besides the records.
        records: Those of its records that were selected.
        arms: Its arms that were selected.
    """

    run: Run
    records: Sequence[Record]
    arms: Sequence[Arm]


def size(material: Material) -> Parts:
    """How much was measured."""
    records = material.records
    return {
        "tasks": len({record.task_id for record in records}),
        "contexts": len({record.context_id for record in records}),
        "arms": len({record.arm for record in records}),
        "seeds": len({record.seed for record in records}),
        "records": len(records),
        "unscored": sum(record.passed is None for record in records),
        "errors": sum(record.finish_reason == "error" for record in records),
        "shortest": min((record.prompt_tokens for record in records), default=None),
        "longest": max((record.prompt_tokens for record in records), default=None),
    }


def arm(material: Material) -> Parts:
    """The row of `summarise` of the one arm that was selected, and how many of its answers passed."""
    (row,) = summarise(material.records)
    return {**row, "passed": sum(bool(record.passed) for record in material.records)}


def comparison(material: Material, *, arm: str, reference: str, measure: Measure) -> Parts:
    """A comparison of the study's verdict, made on the selected records; the p-value is of this one alone."""
    asked = (pair for pair in pairs_of(material.run.arms) if pair.measure == measure)
    pair = next(pair for pair in asked if (pair.arm, pair.reference) == (arm, reference))
    return comparison_parts(compare(material.records, pair))


def verdict(material: Material, *, question: str) -> Parts:
    """The verdict on a question: answer, sentence, counts of findings, and every comparison by `comparison_name`."""
    made = next((each for each in material.run.judgement.verdicts if each.question == question), None)
    return {} if made is None else verdict_parts(made)


def cost(material: Material) -> Parts:
    """Seconds and tokens of the selected arm, and seconds of adapting per context."""
    made = cost_of(material.records)
    return {
        "decoding_s": made.decoding_s,
        "tokens": made.tokens,
        "seconds_per_token": made.seconds_per_token,
        "adapting_s": made.adapting_s / made.adaptations if made.adaptations else None,
        "adapted": made.adaptations,
        "peak_gib": made.peak_bytes / 2**30 if made.peak_bytes else None,
    }


def break_even(material: Material, *, arm: str, reference: str) -> Parts:
    """New tokens per context after which the seconds saved exceed those of adapting; None where they never do."""
    after, before = (cost_of([r for r in material.records if r.arm == each]) for each in (arm, reference))
    tokens = after.pays_after(before)
    if tokens is None or math.isinf(tokens):
        return {"tokens": None, "pays": "unknown" if tokens is None else "never"}
    return {"tokens": tokens, "pays": "yes"}


def mended(material: Material, *, arm: str, reference: str) -> Parts:
    """Answers that the arm passes and the reference fails, and the reverse, in all and by class of the failure."""
    classes = {**classify_all(material.records), **material.run.error_classes}
    rows = [row for row in transitions(material.records, classes, reference) if row["arm"] == arm]
    parts: dict[str, Value] = {name: sum(row[name] for row in rows) for name in ("fixed", "broken")}
    parts["pairs"] = rows[0]["pairs"] if rows else 0
    for row in rows:
        parts |= {f"{row['class']}: {name}": row[name] for name in ("fixed", "broken", "baseline_failures")}
    return parts


def answer(material: Material, *, task: str, seed: int) -> Parts:
    """What the selected arm answered to a task."""
    found = next(record for record in material.records if (record.task_id, record.seed) == (task, seed))
    return {"answer": found.answer, "passed": found.passed, "task": found.task_id}


def setting(material: Material) -> Parts:
    """What the selected arm was, from arms.json; the settings of its adaptation after "ttt."."""
    (arm,) = material.arms
    row = arm.to_json()
    parts = {name: _flat(value) for name, value in row.items() if name not in ("ttt_settings", "guidance")}
    ttt = {f"ttt.{name}": _flat(value) for name, value in (row["ttt_settings"] or {}).items()}
    return {**parts, **ttt, "rule": rule_of(arm) or arm.mode, "variant": _variant(arm, material.run.arms)}


def group(material: Material, *, by: str, group: str) -> Parts:  # noqa: ARG001 - the selection did the work
    """The name of a group, and of the grouping."""
    return {"by": by, "group": group}


def recorded(material: Material) -> Parts:
    """What the run's config and provenance say of target, data, code and machine."""
    config, made_by = material.run.config, material.run.provenance
    model, data = config.get("model") or {}, (config.get("data") or {}).get("init_args") or {}
    decoding, packages = (config.get("evaluator") or {}).get("decoding") or {}, made_by.get("packages") or {}
    suites = data.get("suites")
    commit = str(made_by.get("commit") or "")[:12]
    return {
        "name": material.run.name,
        "target": model.get("target"),
        "draft": model.get("draft") or ("bundled with the target" if model else None),
        "precision": model.get("target_dtype"),
        "data": ", ".join(suites) if suites else data.get("suite") or _last(data.get("path")),
        "max_new_tokens": decoding.get("max_new_tokens"),
        "temperature": decoding.get("temperature"),
        "seeds": ", ".join(map(str, sorted({record.seed for record in material.records}))),
        "command": " ".join(_last(part) for part in made_by.get("command") or ()) or None,
        "commit": f"{commit} with local changes" if commit and made_by.get("modified") else commit or None,
        "device": made_by.get("device"),
        "threads": made_by.get("threads"),
        "torch": packages.get("torch"),
        "transformers": packages.get("transformers"),
        "baseline": material.run.baseline,
    }


def draft(material: Material) -> Parts:
    """Shape of the draft that ships with the package; nothing where another was used."""
    model = material.run.config.get("model") or {}
    if model.get("draft") or not str(model.get("target", "")).startswith("bundled:"):
        return {}
    config: dict[str, Any] = json.loads(files("dftt.models").joinpath("bundled_draft", "config.json").read_text())
    return {
        "block": config["block_size"],
        "layers": config["num_hidden_layers"],
        "target_layers": config["num_target_layers"],
        "taps": len(config["dflash_config"]["target_layer_ids"]),
    }


def rules(material: Material) -> Parts:  # noqa: ARG001 - the rules are the same for every study
    """What was fixed before any study was run, in `dftt.analysis.comparison` and `verdict`."""
    return {
        "worthwhile_tau": WORTHWHILE_TAU,
        "margin_tau": MARGINS["tau"],
        "margin_pass": MARGINS["pass rate"],
        "min_pairs": MIN_PAIRS,
        "min_contexts": MIN_CONTEXTS,
        "max_unscored": MAX_UNSCORED,
        "level": 0.95,
    }


QUANTITIES: dict[str, Callable[..., Parts]] = {
    made.__name__: made
    for made in (
        size,
        arm,
        comparison,
        verdict,
        cost,
        break_even,
        mended,
        answer,
        setting,
        group,
        recorded,
        draft,
        rules,
    )
}


def comparison_name(arm: str, reference: str, part: str) -> str:
    """The name of a part of a comparison among the parts of a verdict."""
    return f"{arm} against {reference}: {part}"


def comparison_parts(made: Comparison) -> Parts:
    """A comparison as parts."""
    parts = made.to_json() | {"enough": made.enough}
    return {name: value for name, value in parts.items() if name != "measure"}


def verdict_parts(made: Verdict) -> Parts:
    """A verdict as parts."""
    parts: dict[str, Value] = {"answer": made.answer, "sentence": made.sentence, "comparisons": len(made.comparisons)}
    for finding in FINDINGS:
        parts[finding] = sum(each.finding == finding for each in made.comparisons)
    for each in made.comparisons:
        named = comparison_parts(each)
        parts |= {comparison_name(each.arm, each.reference, name): value for name, value in named.items()}
    return parts


def same(value: Value, other: Value) -> bool:
    """Whether two values are equal, numbers up to rounding."""
    if isinstance(value, float | int) and isinstance(other, float | int):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12)
    return value == other


def _variant(arm: Arm, arms: Sequence[Arm]) -> str:
    """What the draft was adapted to, and the settings in which arms of the same kind differ."""
    own = _settings(arm)
    kind = arm.mode, arm.ttt, rule_of(arm)
    alike = [_settings(each) for each in arms if (each.mode, each.ttt, rule_of(each)) == kind]
    differing = [name for name in own if any(other.get(name) != own[name] for other in alike)]
    return ", ".join([arm.ttt, *(f"{name}={_flat(own[name])}" for name in differing)])


def _settings(arm: Arm) -> dict[str, Any]:
    return {**arm.guidance, **arm.parameters, **arm.ttt_overrides, "taps": arm.taps, "rounds": arm.rounds}


def _flat(value: object) -> Value:
    """A setting as a single value."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _last(part: object) -> str:
    """A word of a command, absolute paths in it shortened to their last part: the rest is the machine's."""
    text = "" if part is None else str(part)
    name, equals, path = text.rpartition("=")
    return f"{name}{equals}{PurePath(path).name}" if path.startswith("/") else text
