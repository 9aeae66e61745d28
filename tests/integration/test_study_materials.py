"""Arms whose rules need something besides the pair: made from the study's own contexts and settings, and shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from dftt.adaptation.ttt import Adaptation, ttt_adapt
from dftt.decoding.generate import generate
from dftt.decoding.guidance.sources import Materials
from dftt.models.pair import Pair, load_pair
from dftt.models.target import Target
from dftt.study.manifest import wanted_records
from dftt.types import DecodingSpec, GuidanceSpec, Prompt, Record, TTTSpec
from tests.commands import Commands, row
from tests.fakes import tiny_target_dir
from tests.integration.test_evaluator import records_of
from tests.integration.test_study_grid import counted

SHORT = ("--evaluator.decoding.max_new_tokens=8", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
TTT = TTTSpec(steps=3, lr=0.02, anchors=4)
LEARN = ("--model.ttt.steps=3", "--model.ttt.lr=0.02")
TEXTS = {"a": "No goat may vote twice. The mayor counts.", "b": "A red boat waits for a blue one in the harbour."}


def qa(commands: Commands, name: str = "qa.jsonl") -> Path:
    """Two contexts, each with one question that is told apart."""
    rows = [{"context": text, "question": f"Who, {name}?", "id": name} for name, text in TEXTS.items()]
    return commands.write(rows, name)


def arms(*rules: str, ttt: str = "own", alpha: float = 1.0) -> tuple[str, ...]:
    """Flags of guided arms, and of the target as their baseline."""
    guided = [f"{{mode: guided, alpha: {alpha}, ttt: {ttt}, guidance: {rule}}}" for rule in rules]
    return f"--evaluator.arms=[{{mode: target}}, {', '.join(guided)}]", "--evaluator.baseline=target"


def only(records: dict[tuple[str, str], Record], task: str, part: str) -> Record:
    """The one record of a task whose arm's id holds a part."""
    (found,) = [record for (each, arm), record in records.items() if each == task and part in arm]
    return found


@pytest.fixture
def pair(commands: Commands) -> Pair:
    return load_pair(commands.target, commands.draft)


def prompt_of(pair: Pair, name: str, *, context: bool = True) -> Prompt:
    text = f"{TEXTS[name]}\n\nWho, {name}?" if context else f"Who, {name}?"
    return pair.encode([{"role": "user", "content": text}])


def answer(pair: Pair, name: str, rule: str, adaptation: Adaptation | None, materials: Materials) -> tuple[int, ...]:
    """The tokens of a rule, by the public functions alone."""
    spec = DecodingSpec("guided", 8, ignore_eos=True, guidance=GuidanceSpec(rule, alpha=1.0))
    names = [name]
    return generate(
        pair, prompt_of(pair, name), spec, adaptation=adaptation, materials=materials, sample_names=names
    ).token_ids


def test_rules_of_a_study_are_those_of_the_public_functions(commands: Commands, pair: Pair) -> None:
    rules = ("{rule: cad}", "{rule: own_minus_other}", "{rule: own_minus_base}", "{rule: noise_norm}", "{rule: dola}")
    records = records_of(commands("test", *SHORT, *LEARN, *arms(*rules), data=qa(commands)))
    adapted = {name: ttt_adapt(pair, prompt_of(pair, name), TTT) for name in TEXTS}
    for name, other in (("a", "b"), ("b", "a")):
        materials = Materials({"other": adapted[other].adapter}, [prompt_of(pair, name, context=False)])
        for rule in ("cad", "own_minus_other", "own_minus_base", "noise_norm", "dola"):
            expected = answer(pair, name, rule, adapted[name], materials)
            assert only(records, name, f":{rule}@").token_ids == expected, (name, rule)


def test_the_other_contexts_adaptation_is_its_own_and_made_once(commands: Commands) -> None:
    with counted() as counts:
        commands("test", *SHORT, *LEARN, *arms("{rule: own_minus_other}", "{rule: cad}"), data=qa(commands))
    assert counts["adaptations"] == 2


def test_a_generic_adapter_comes_from_a_folder_or_a_checkpoint(commands: Commands, pair: Pair) -> None:
    checkpoint = commands.checkpoint(*LEARN)
    folder = next(commands.root.rglob("adapter_config.json")).parent
    flags = (*SHORT, *LEARN, *arms("{rule: own_minus_generic}"))
    by_folder = records_of(commands("test", *flags, f"--evaluator.generic_adapter={folder}", data=qa(commands)))
    by_checkpoint = records_of(commands("test", *flags, f"--ckpt_path={checkpoint}", data=qa(commands)))
    adapted = ttt_adapt(pair, prompt_of(pair, "a"), TTT)
    materials = Materials({"generic": type(adapted.adapter).load(folder)})
    found = only(by_folder, "a", "own_minus_generic")
    assert found.token_ids == answer(pair, "a", "own_minus_generic", adapted, materials)
    other = only(by_checkpoint, "a", "own_minus_generic")
    assert (other.finish_reason, other.spec_hash != found.spec_hash) == ("length", True)  # it also starts from there


def test_an_amateur_is_any_model_of_the_same_vocabulary(commands: Commands, pair: Pair) -> None:
    folder = tiny_target_dir(commands.root / "amateur", "llama")
    flags = (*SHORT, *arms("{rule: contrastive}", "{rule: contrastive_ratio}", ttt="none"))
    records = records_of(commands("test", *flags, f"--evaluator.amateur={folder}", data=qa(commands)))
    materials = Materials(amateur=Target.load(folder))
    for rule in ("contrastive", "contrastive_ratio"):
        assert only(records, "a", f":{rule}@").token_ids == answer(pair, "a", rule, None, materials)


def test_a_task_without_its_own_question_is_unmeasured(commands: Commands) -> None:
    """CL-bench's rows: context and question share one message; nothing else is put in its place."""
    rows = [row("Goats vote. Who?", task_id="a", context_id="a"), row("Boats sail. Who?", task_id="b", context_id="b")]
    flags = (*SHORT, *arms("{rule: cad}", ttt="none"))
    with counted() as counts:
        records = records_of(commands("test", *flags, data=commands.write(rows)))
    record = only(records, "a", ":cad@")
    assert (record.finish_reason, record.token_ids, record.passed) == ("error", (), None)
    assert "cannot be told apart" in record.explanation
    assert counts["generations"] == 2  # the target's


def test_a_record_follows_the_materials_that_decide_it(commands: Commands, tmp_path: Path) -> None:
    rules = ("{rule: cad}", "{rule: own_minus_other}", "{rule: own_minus_base}")
    flags = (*SHORT, "--model.ttt.steps=1", *arms(*rules), f"--evaluator.run_dir={tmp_path / 'study'}")

    def hashes(context: str, question: str, other: str) -> dict[str, str]:
        rows = [{"context": context, "question": question, "id": "a"}, {"context": other, "question": "W?", "id": "b"}]
        commands("test", *flags, data=commands.write(rows))
        records = wanted_records(tmp_path / "study").records
        return {each.arm: each.spec_hash for each in records if each.task_id == "a"}

    def changed(after: dict[str, str]) -> set[str]:
        return {arm for arm in before if before[arm] != after[arm]}

    before = hashes("Goats.", "Red ones.\n\nWho?", "Boats.")
    assert changed(hashes("Goats.\n\nRed ones.", "Who?", "Boats.")) == {"guided:cad@1+own"}  # the prompt is the same
    assert changed(hashes("Goats.", "Red ones.\n\nWho?", "Ships.")) == {"guided:own_minus_other@1+own"}


def test_materials_are_refused_before_a_model_is_loaded(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    def refused(*flags: str) -> str:
        arguments = commands.arguments("test", *SHORT, *flags, data=qa(commands))
        return commands.refused(capfd, *arguments)

    assert "needs an amateur" in refused(*arms("{rule: contrastive}"))
    assert "needs a generic adapter" in refused(*arms("{rule: own_minus_generic}"))
    assert "has no adapter_config.json" in refused(f"--evaluator.generic_adapter={commands.root}")
    assert "own_minus_base needs an adaptation" in refused(*arms("{rule: own_minus_base}", ttt="none"))
