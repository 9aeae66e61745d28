"""The numbers in the text, as macros: of the first study that can answer each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dftt.analysis.arm_roles import NO_TTT, OTHER_TTT, TARGET, ArmPair
from dftt.analysis.comparison import Comparison
from paper.quantities import comparison_name
from paper.roles import Trio, largest, of_kind, pair_of, questions_of, trio_of, verdict_source
from paper.studies import Selection, Study, rule_of
from paper.tables.acceptance import break_even
from paper.tex import Format, Value, compact, fixed, p_equation, said, typed, whole
from paper.trace import Ledger, Source

FLAGS = (
    "SeveralStudies",
    "TargetKnown",
    "CommandKnown",
    "DraftKnown",
    "TauMeasured",
    "WrongMeasured",
    "TimeMeasured",
    "TimePays",
    "GuidanceMeasured",
    "GuideNoneMeasured",
    "GuideOwnMeasured",
    "StepMeasured",
    "CadMeasured",
    "NoiseMeasured",
    "GuideWrongMeasured",
)
OUTCOMES = {"above": "above", "below": "below", "equal": "equal", "unclear": "unknown", "too few": "unknown"}
_TAU = ("tau", "tau_low", "tau_high")
_PASS = ("pass_rate", "pass_low", "pass_high", "scored")
_ENDS = ("estimate", "low", "high", "n")
_SIGNED = fixed(2, sign=True)


def write_numbers(ledger: Ledger, studies: Sequence[Study]) -> None:
    """Define all macros that the text may use, and the flags that say which of them exist."""
    ledger.flags |= dict.fromkeys(FLAGS, False)
    ledger.flags["SeveralStudies"] = len(studies) > 1
    _rules(ledger, studies[0])
    _setup(ledger, studies[0])
    if (study := _first(studies, "tau")) is not None and (trio := trio_of(study)) is not None:
        _tau(ledger, study, trio)
        _time(ledger, study, trio)
    if (study := _first(studies, "guidance")) is not None:
        _guidance(ledger, study)
    if (study := _first(studies, "controls")) is not None:
        _controls(ledger, study)
    if (study := _first(studies, "baselines")) is not None:
        _baselines(ledger, study)


def _first(studies: Sequence[Study], question: str) -> Study | None:
    return next((study for study in studies if question in questions_of(study)), None)


def _rules(ledger: Ledger, study: Study) -> None:
    source = Source(study, "rules")
    for name, part, form in (
        ("WorthwhileTau", "worthwhile_tau", fixed(1)),
        ("MarginTau", "margin_tau", fixed(1)),
        ("MarginPass", "margin_pass", fixed(2)),
        ("MinPairs", "min_pairs", whole),
        ("MinContexts", "min_contexts", whole),
        ("MaxUnscored", "max_unscored", _per_cent),
        ("Level", "level", _per_cent),
    ):
        ledger.macro(name, source, part, form)


def _setup(ledger: Ledger, study: Study) -> None:
    run, size, draft = Source(study, "recorded"), Source(study, "size"), Source(study, "draft")
    for name, source, part, form in (
        ("StudyTarget", run, "target", typed),
        ("StudyDraft", run, "draft", said),
        ("StudyPrecision", run, "precision", said),
        ("StudyTokens", run, "max_new_tokens", whole),
        ("StudyCommand", run, "command", typed),
        ("StudyCommit", run, "commit", typed),
        ("StudyTasks", size, "tasks", whole),
        ("StudyContexts", size, "contexts", whole),
        ("StudyRecords", size, "records", whole),
        ("StudyArms", size, "arms", whole),
        ("StudyShortest", size, "shortest", whole),
        ("StudyLongest", size, "longest", whole),
    ):
        ledger.macro(name, source, part, form)
    ledger.flags["TargetKnown"] = ledger.parts(run)["target"] is not None
    ledger.flags["CommandKnown"] = ledger.parts(run)["command"] is not None
    ledger.flags["DraftKnown"] = bool(ledger.parts(draft))
    for name, part in (("DraftBlock", "block"), ("DraftLayers", "layers"), ("DraftTaps", "taps")):
        if ledger.flags["DraftKnown"]:
            ledger.macro(name, draft, part, whole)


def _tau(ledger: Ledger, study: Study, trio: Trio) -> None:
    ledger.flags["TauMeasured"], ledger.flags["WrongMeasured"] = True, trio.wrong is not None
    verdict, size = verdict_source(study, "tau"), Source(study, "size", Selection((trio.none, trio.own)))
    ledger.macro("TauVerdict", verdict, "sentence", said)
    ledger.macro("TauComparisons", verdict, "comparisons", whole)
    ledger.macro("TauStudy", Source(study, "recorded"), "name", typed)
    ledger.macro("TauTasks", size, "tasks", whole)
    ledger.macro("TauContexts", size, "contexts", whole)
    _arm(ledger, study, "TauNone", trio.none)
    _arm(ledger, study, "TauOwn", trio.own)
    settings = Source(study, "setting", Selection((trio.own,)))
    for name in ("steps", "lr", "rank", "anchors", "loss", "modules"):
        ledger.macro(f"TTT{name.title()}", settings, f"ttt.{name}", compact)
    _compared(ledger, verdict, "OwnNone", trio.own, trio.none)
    if trio.wrong is not None:
        _arm(ledger, study, "TauWrong", trio.wrong)
        _compared(ledger, verdict, "OwnWrong", trio.own, trio.wrong)
        if pair_of(study, trio.wrong, NO_TTT, "tau"):
            _compared(ledger, verdict, "WrongNone", trio.wrong, trio.none)


def _time(ledger: Ledger, study: Study, trio: Trio) -> None:
    none, own = (Source(study, "cost", Selection((arm,))) for arm in (trio.none, trio.own))
    pays = break_even(study, trio.own, trio.none)
    known = ledger.parts(pays)["pays"]
    ledger.flags["TimeMeasured"] = known != "unknown"
    if known == "unknown":
        return
    ledger.macro("SecondsNone", none, "seconds_per_token", fixed(3))
    ledger.macro("SecondsOwn", own, "seconds_per_token", fixed(3))
    ledger.macro("AdaptSeconds", own, "adapting_s", fixed(1))
    ledger.macro("BreakEven", pays, "tokens", whole)
    ledger.flags["TimePays"] = known == "yes"


def _guidance(ledger: Ledger, study: Study) -> None:
    verdict = verdict_source(study, "guidance")
    ledger.flags["GuidanceMeasured"] = True
    ledger.macro("GuidanceVerdict", verdict, "sentence", said)
    ledger.macro("GuidanceComparisons", verdict, "comparisons", whole)
    ledger.macro("GuidanceAbove", verdict, "above", whole)
    ledger.macro("GuidanceStudy", Source(study, "recorded"), "name", typed)
    kinds = {f"Guide{name}": of_kind(study, "guidance", TARGET, name.lower()) for name in ("None", "Own")}
    _best(ledger, study, verdict, kinds | {"Step": of_kind(study, "guidance", NO_TTT)})
    target = of_kind(study, "guidance", TARGET)[0].reference
    ledger.interval("PassTarget", Source(study, "arm", Selection((target,))), _PASS, fixed(2))


def _controls(ledger: Ledger, study: Study) -> None:
    """Noise, and guidance by another context's draft: of each the comparison with the largest effect."""
    noise = [each for each in of_kind(study, "controls", TARGET) if rule_of(study.arm(each.arm)).startswith("noise")]
    wrong = [each for each in of_kind(study, "controls", OTHER_TTT) if study.arm(each.reference).ttt == "wrong"]
    _best(ledger, study, verdict_source(study, "controls"), {"Noise": noise, "GuideWrong": wrong})


def _baselines(ledger: Ledger, study: Study) -> None:
    """Context-aware decoding: the comparison with the largest effect."""
    cad = [each for each in of_kind(study, "baselines", TARGET) if rule_of(study.arm(each.arm)) == "cad"]
    _best(ledger, study, verdict_source(study, "baselines"), {"Cad": cad})


def _best(ledger: Ledger, study: Study, verdict: Source, kinds: Mapping[str, Sequence[Comparison]]) -> None:
    for name, found in kinds.items():
        best: ArmPair | None = largest(found)
        ledger.flags[f"{name}Measured"] = best is not None
        if best is not None:
            _compared(ledger, verdict, name, best.arm, best.reference)
            _setting(ledger, study, name, best.arm)
            ledger.interval(f"Pass{name}", Source(study, "arm", Selection((best.arm,))), _PASS, fixed(2))


def _setting(ledger: Ledger, study: Study, name: str, arm: str) -> None:
    """Rule and weight of a guided arm: NameRule and NameAlpha."""
    source = Source(study, "setting", Selection((arm,)))
    ledger.macro(f"{name}Rule", source, "rule", typed)
    ledger.macro(f"{name}Alpha", source, "alpha", compact)


def _arm(ledger: Ledger, study: Study, name: str, arm: str) -> None:
    """Tau of an arm: Name and NameCI."""
    ledger.interval(name, Source(study, "arm", Selection((arm,))), _TAU, fixed(2))


def _compared(ledger: Ledger, source: Source, name: str, arm: str, reference: str) -> None:
    """A comparison of a verdict: DeltaName with CI and N, PName, and FindingName, by which the text chooses."""
    prefix = comparison_name(arm, reference, "")
    ledger.interval(f"Delta{name}", source, _ENDS, _SIGNED, prefix=prefix)
    ledger.macro(f"Contexts{name}", source, f"{prefix}num_clusters", whole)
    ledger.macro(f"P{name}", source, f"{prefix}adjusted", p_equation)
    ledger.macro(f"Finding{name}", source, f"{prefix}finding", _outcome)


def _outcome(value: Value) -> str:
    return OUTCOMES[str(value)]


def _per_cent(value: Value) -> str:
    form: Format = fixed(0)
    return form(100 * value) + r"\,\%" if isinstance(value, float | int) else form(value)
