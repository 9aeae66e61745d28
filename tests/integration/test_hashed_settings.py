"""Every setting is in the hash of a record, or does nothing to its tokens: all of them are walked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from dftt.data import ContextDataModule
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.models.lora import Adapter
from dftt.models.pair import Pair
from dftt.module import DraftTTTModule
from dftt.study import Arm
from dftt.study.fingerprint import Fingerprints
from dftt.study.manifest import wanted_records
from dftt.study.spec import Asked, Contexts, Study
from dftt.types import DecodingSpec, GuidanceSpec, Prompt, Task, TTTSpec
from dftt.types.methods import CopySpec, PowerSpec, RerankSpec
from tests.commands import Commands
from tests.fakes import random_prompt
from tests.integration.test_evaluator import outcome
from tests.integration.test_study_grid import counted

OWN, TARGET = Arm("speculative", "own"), Arm("target")
GUIDED = Arm("guided", "own", alpha=0.3)
RULED = Arm("guided", "own", alpha=0.3, guidance={"rule": "contrast"})
MATCHED = Arm("target", matched_to=GUIDED.id)
ONLINE = Arm("speculative", "own", ttt_overrides={"learns_from": "generation"})
TASK = Task("t", "c", ({"role": "user", "content": "Who?"},))
PROMPT = Prompt(random_prompt(20).input_ids, 12)
CONTEXTS = Contexts(Prompt(PROMPT.input_ids[:12]), random_prompt(15, seed=8), "d")


class Hash:
    """The hash of one record under settings that differ from plain ones in what is given.

    Args:
        pair: The pair.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def __call__(
        self,
        arm: Arm = OWN,
        *,
        ttt: TTTSpec = TTTSpec(),
        decoding: DecodingSpec = DecodingSpec(temperature=0.6),
        seed: int = 0,
        task: Task = TASK,
        prompt: Prompt = PROMPT,
        contexts: Contexts = CONTEXTS,
        question: Prompt | None = None,
        precision: Precision | None = None,
        dtype: str = "float32",
        rows: int = 1,
        pair: Pair | None = None,
        initial: Adapter | None = None,
        generic: Adapter | None = None,
        matched: Arm = GUIDED,
    ) -> str:
        plugin = precision or Precision()
        study = Study(
            pair or self.pair,
            (arm, matched),
            decoding,
            ttt,
            initial=initial,
            generic=generic,
            rows=rows,
            dtype=dtype,
            precision=(type(plugin).__name__, str(plugin.precision)),
        )
        return Fingerprints(study).of(arm, seed, Asked(task, prompt, question=question), contexts).whole


@pytest.fixture(scope="module")
def hashed(tiny_pair: Callable[..., Pair]) -> Hash:
    return Hash(tiny_pair("qwen3"))


def others(spec: Any, values: Mapping[str, Any], *but: str) -> list[Any]:
    """The spec with each field in turn at another value; none is left out but those named."""
    assert {each.name for each in fields(spec)} == {*values, *but}, "a field is new: say what it does to the hash"
    return [replace(spec, **{name: value}) for name, value in values.items()]


TTT_VALUES: dict[str, Any] = {
    "steps": 31, "lr": 2e-3, "warmup": 6, "decay": 0.2, "rank": 4, "lora_alpha": 8.0, "modules": ("fc",), "loss": "ce",
    "anchors": 8, "window": 9, "held_out": 8, "seed": 1, "max_grad_norm": 2.0, "patience": 3, "checkpointing": True,
    "learns_from": "generation",
}  # fmt: skip


def test_every_setting_of_ttt_is_in_the_hash(hashed: Hash) -> None:
    specs = others(TTTSpec(), TTT_VALUES, "every", "store", *STUDY_VALUES)
    assert len({hashed(ttt=spec) for spec in [TTTSpec(), *specs]}) == 1 + len(specs)
    assert hashed(ONLINE) != hashed(ONLINE, ttt=TTTSpec(every=16))
    assert hashed() == hashed(ttt=TTTSpec(every=16))  # nothing is learnt from an answer
    assert hashed() == hashed(ttt=TTTSpec(store="kept"))  # where an adapter is kept changes nothing in it
    assert len({hashed(TARGET, ttt=spec) for spec in specs}) == 1  # which is not adapted
    overrides = [Arm("speculative", "own", ttt_overrides={name: value}) for name, value in TTT_VALUES.items()]
    assert [hashed(arm) for arm in overrides] == [hashed(ttt=spec) for spec in specs]


STUDY_VALUES: dict[str, Any] = {
    "study_samples": 3, "study_tokens": 9, "study_temperature": 1.0, "study_prompts": "prompts.txt",
    "study_context": False, "seconds": 9.0,
}  # fmt: skip


def test_every_setting_of_self_study_is_in_the_hash(
    hashed: Hash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("Sing it.")
    plain = TTTSpec(learns_from="self_study")
    specs = [replace(plain, **{name: value}) for name, value in STUDY_VALUES.items()]
    assert len({hashed(ttt=spec) for spec in [plain, *specs]}) == 1 + len(specs)
    assert all(hashed(ttt=replace(spec, learns_from="context")) == hashed() for spec in specs)
    before = hashed(ttt=replace(plain, study_prompts="prompts.txt"))
    (tmp_path / "prompts.txt").write_text("Dance it.")
    assert hashed(ttt=replace(plain, study_prompts="prompts.txt")) != before


DECODING_VALUES: dict[str, Any] = {
    "max_new_tokens": 129, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "block_size": 3, "verify_size": 2,
    "eos_token_ids": (3,), "ignore_eos": True,
}  # fmt: skip
DRAFTING_VALUES: dict[str, dict[str, Any]] = {
    "drafter": {"drafter": "hybrid"},
    "lookup_suffix": {"lookup_suffix": 3},
    "lookup_study": {"drafter": "hybrid", "lookup_study": True},
    "draft_window": {"draft_window": 9},
    "draft_sinks": {"draft_window": 9, "draft_sinks": 2},
}
# Each is the arm's own, or that of evaluator.seeds, whatever the study's decoding says.
ARMS_OWN = ("mode", "alpha", "guidance", "seed")


def test_every_setting_of_decoding_is_in_the_hash(hashed: Hash) -> None:
    plain = DecodingSpec(temperature=0.6)
    specs = others(plain, DECODING_VALUES, *ARMS_OWN, *DRAFTING_VALUES)
    drafting = [replace(plain, **value) for value in DRAFTING_VALUES.values()]
    assert len({hashed(OWN, decoding=spec) for spec in [plain, *drafting]}) == 1 + len(drafting)
    assert len({hashed(TARGET, decoding=spec) for spec in [plain, *drafting]}) == 1  # nothing proposes
    assert len({hashed(GUIDED, decoding=spec) for spec in [plain, *specs]}) == 1 + len(specs)
    assert hashed(seed=1) != hashed()
    for spec in (replace(plain, mode="target"), replace(plain, seed=7), replace(plain, alpha=0.9)):
        assert hashed(GUIDED, decoding=spec) == hashed(GUIDED)
    # Greedy or not, sizes of blocks change no token of the target, which has none.
    assert hashed(TARGET, decoding=replace(plain, block_size=3, verify_size=2)) == hashed(TARGET)
    assert hashed(TARGET, decoding=replace(plain, top_k=5)) != hashed(TARGET)


GUIDANCE_VALUES: dict[str, Any] = {
    "rule": "cad", "numerator": "base", "reference": "uniform", "space": "probability", "adapt": "entropy", "top_k": 5,
    "plausibility": 0.1, "draft_context": "inclusive",
}  # fmt: skip


def test_every_setting_of_guidance_is_in_the_hash(hashed: Hash) -> None:
    assert {each.name for each in fields(GuidanceSpec)} == {*GUIDANCE_VALUES, "alpha"}
    arms = [replace(RULED, guidance={**RULED.guidance, name: value}) for name, value in GUIDANCE_VALUES.items()]
    arms += [RULED, replace(RULED, alpha=0.4)]
    assert len({hashed(arm) for arm in arms}) == len(arms)


def test_every_setting_of_an_arm_is_in_the_hash(hashed: Hash) -> None:
    walked = {
        "mode": TARGET,
        "ttt": Arm("speculative", "shuffled"),
        "alpha": replace(GUIDED, alpha=0.4),
        "temperature": replace(OWN, temperature=0.9),
        "top_p": replace(OWN, top_p=0.9),
        "guidance": RULED,
        "parameters": Arm("power", parameters={"alpha": 3.0}),
        "matched_to": MATCHED,
        "ttt_overrides": replace(OWN, ttt_overrides={"steps": 7}),
        "taps": replace(OWN, taps="deep"),
        "rounds": replace(OWN, rounds=2),
        "drafting": replace(OWN, drafting={"drafter": "hybrid"}),
    }
    assert {each.name for each in fields(Arm)} == {*walked, "name"}
    assert hashed(replace(OWN, name="another")) == hashed(OWN)  # the id is in the record's key
    arms = [OWN, GUIDED, Arm("power"), Arm("speculative", "wrong"), Arm("speculative"), *walked.values()]
    assert len({hashed(arm) for arm in arms}) == len(arms)
    assert hashed(MATCHED) != hashed(replace(MATCHED, matched_to=RULED.id), matched=RULED)


@pytest.mark.parametrize(("mode", "spec"), [("power", PowerSpec()), ("rerank", RerankSpec()), ("copy", CopySpec())])
def test_every_setting_of_a_baseline_is_in_the_hash(hashed: Hash, mode: Any, spec: Any) -> None:
    values = {"alpha": 3.0, "blocks": 2, "steps": 3, "by": "target", "samples": 3, "what": "passage", "tokens": 5}
    names = [each.name for each in fields(spec)]
    assert set(names) <= set(values), "a field is new: give it another value"
    arms = [Arm(mode), *(Arm(mode, parameters={name: values[name]}) for name in names)]
    assert len({hashed(arm) for arm in arms}) == len(arms)


def test_the_hash_of_a_copy_knows_its_source_alone(hashed: Hash) -> None:
    copy, said = Arm("copy"), replace(TASK, messages=({"role": "user", "content": "Ann sat. Who?"},))
    told = replace(said, question="Who?")
    other = replace(said, question="Ann sat.")
    assert len({hashed(copy, task=task) for task in (said, told, other)}) == 3
    spec = DecodingSpec(max_new_tokens=9, temperature=0.1, drafter="lookup")
    assert hashed(copy, task=told, decoding=spec, ttt=TTTSpec(steps=3)) == hashed(copy, task=told)


def test_what_is_read_and_learnt_from_is_in_the_hash(hashed: Hash) -> None:
    later = replace(TASK, metadata={"later_turns": ["And?"]})
    cut = replace(CONTEXTS, own=Prompt(PROMPT.input_ids[:11]))
    changed = [
        hashed(prompt=Prompt(random_prompt(20, seed=1).input_ids, 12)),
        hashed(prompt=Prompt(PROMPT.input_ids, 11), contexts=cut),
        hashed(task=later),
    ]
    assert len({hashed(), *changed}) == 4
    elsewhere = replace(CONTEXTS, other=random_prompt(15, seed=9))
    assert hashed(contexts=elsewhere) == hashed()  # no part of it is read
    minus = replace(GUIDED, guidance={"rule": "own_minus_other"})
    for arm in (Arm("speculative", "wrong"), minus):
        assert hashed(arm, contexts=elsewhere) != hashed(arm)
    cad = replace(GUIDED, guidance={"rule": "cad"})
    assert hashed(cad, question=random_prompt(4)) != hashed(cad, question=random_prompt(5))


def test_weights_and_configs_are_in_the_hash(
    hashed: Hash, tiny_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = [Adapter(2, scale, ("fc",), {"a": torch.ones(2)}) for scale in (2.0, 4.0)]
    generic = replace(GUIDED, guidance={"rule": "own_minus_generic"})
    pairs = [tiny_pair("llama"), tiny_pair("qwen3", num_layers=1), tiny_pair("qwen3", rms_norm_eps=1e-4)]
    draws = [hashed(), *(hashed(pair=pair) for pair in pairs), *(hashed(initial=each) for each in adapters)]
    assert len(set(draws)) == 6
    assert hashed(generic, generic=adapters[0]) != hashed(generic, generic=adapters[1])
    before = hashed()
    monkeypatch.setattr(hashed.pair.target.config, "rms_norm_eps", 1e-3)
    assert hashed() != before
    monkeypatch.undo()
    monkeypatch.setattr(hashed.pair.target.model.generation_config, "eos_token_id", [1, 2])
    assert hashed() != before


def test_the_arithmetic_is_in_the_hash(hashed: Hash, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = MixedPrecision("bf16-mixed", "cpu")
    hashes = [hashed(), hashed(precision=mixed), hashed(dtype="bfloat16"), hashed(precision=mixed, dtype="bfloat16")]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    hashes.append(hashed())
    monkeypatch.undo()
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    hashes.append(hashed())
    monkeypatch.undo()
    monkeypatch.setattr(type(hashed.pair.target), "device", torch.device("meta"))
    hashes.append(hashed())
    monkeypatch.undo()
    monkeypatch.setattr(hashed.pair.target.config, "_attn_implementation", "sdpa")
    assert len({*hashes, hashed()}) == 8


def test_rows_are_in_the_hash_where_they_round_otherwise(hashed: Hash) -> None:
    assert hashed(rows=4) == hashed()
    assert hashed(rows=4, dtype="bfloat16") != hashed(dtype="bfloat16")
    assert hashed(replace(OWN, rounds=2), rows=4, dtype="bfloat16") == hashed(replace(OWN, rounds=2), dtype="bfloat16")


# -- the settings of the command line ---------------------------------------------------------------------------------

MODELS, ROWS, FIT = "weights and configs are in the hash", "the tokens of prompts and contexts are", "of fit alone"
ARM = "every setting of an arm is in the hash"
TABLES = "read by tables, after tokens are drawn"
PROCESS = "how the process shows or shares its work"
KNOWN: dict[type, dict[str, str]] = {
    DraftTTTModule: {
        "target": MODELS, "draft": MODELS, "target_dtype": "arithmetic", "trainable": MODELS, "new_layers": MODELS,
        "new_block_size": MODELS, "new_taps": MODELS, "new_tap_ids": MODELS, "new_mask_token_id": MODELS, "ttt": ARM,
        "training": FIT, "allow_long": "which tasks are refused",
    },
    GuidedDecodingEvaluator: {
        "arms": ARM, "grid": ARM, "seeds": "part of the key, and of the decoding", "decoding": ARM, "answer_with": ARM,
        "baseline": TABLES, "dry_run": "nothing is drawn", "run_dir": "where records lie", "amateur": MODELS,
        "generic_adapter": MODELS, "allow_clbench_ttt": "what is refused", "allow_code_execution": "the score",
        "judge": "the score", "rows": "arithmetic", "trace_tasks": "replayed afterwards", "answers": "where they go",
        "brief": TABLES,
    },
    ContextDataModule: dict.fromkeys(
        ("path", "suite", "suites", "questions", "context_ids", "categories", "fraction", "subset_seed",
         "length_buckets", "context", "question", "max_contexts", "max_tasks"), ROWS,
    ) | {"shard": PROCESS},
    L.Trainer: {
        "precision": "arithmetic", "plugins": "arithmetic", "deterministic": "arithmetic", "accelerator": "arithmetic",
        **dict.fromkeys(("strategy", "devices", "num_nodes", "use_distributed_sampler", "logger", "callbacks",
                         "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "profiler",
                         "log_every_n_steps", "default_root_dir", "detect_anomaly", "barebones", "sync_batchnorm",
                         "enable_autolog_hparams", "model_registry", "reload_dataloaders_every_n_epochs"), PROCESS),
        **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches",
                         "limit_val_batches", "overfit_batches", "val_check_interval", "check_val_every_n_epoch",
                         "num_sanity_val_steps", "accumulate_grad_batches", "gradient_clip_val",
                         "gradient_clip_algorithm"), FIT),
        **dict.fromkeys(("fast_dev_run", "limit_test_batches", "limit_predict_batches"), "which contexts"),
        "benchmark": "picks among convolutions, of which there are none",
        "inference_mode": "refused where true",
    },
}  # fmt: skip


@pytest.mark.parametrize("owner", KNOWN, ids=lambda owner: owner.__name__)
def test_every_setting_of_the_command_line_is_known(owner: type) -> None:
    names = set(inspect.signature(owner.__init__).parameters) - {"self"}
    assert names == set(KNOWN[owner]), "a setting is new or gone: say whether it is in the hash, or why it needs not be"


BASE = (
    "--evaluator.decoding.max_new_tokens=6",
    "--model.ttt.anchors=4",
    "--model.ttt.steps=2",
    "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: own}]",
    "--evaluator.grid={mode: [guided], alpha: [0.2, 0.4], ttt: [own]}",
)
WITHOUT_EFFECT = (
    "--model.allow_long=true",
    "--model.training.lr=0.5",
    "--evaluator.baseline=speculative+own",
    "--evaluator.allow_code_execution=true",
    "--evaluator.allow_clbench_ttt=true",
    "--evaluator.rows=4",
    "--evaluator.trace_tasks=0",
    "--evaluator.decoding.seed=5",
    "--trainer.max_epochs=3",
    "--trainer.max_steps=7",
    "--trainer.log_every_n_steps=1",
    "--trainer.benchmark=true",
    "--trainer.detect_anomaly=true",
    "--trainer.accumulate_grad_batches=2",
    "--trainer.use_distributed_sampler=false",
    "--trainer.enable_checkpointing=false",
    "--seed_everything=9",
)


def test_what_is_not_in_the_hash_changes_no_token(commands: Commands) -> None:
    """All settings that the hash leaves out at other values: nothing is made anew, and what is made is the same."""
    data, seeds = commands.contexts(), "--evaluator.seeds=[0]"
    one, other = commands.root / "one", commands.root / "other"
    commands("test", *BASE, seeds, f"--evaluator.run_dir={one}", data=data)
    with counted() as counts:
        commands("test", *BASE, seeds, *WITHOUT_EFFECT, f"--evaluator.run_dir={one}", data=data)
    assert counts["generations"] == 0
    commands("test", *BASE, seeds, *WITHOUT_EFFECT, f"--evaluator.run_dir={other}", data=data)
    made = [[outcome(record) for record in wanted_records(folder).records] for folder in (one, other)]
    assert len(made[0]) == 16
    assert made[0] == made[1]


def test_a_study_resumed_in_another_precision_is_made_anew(commands: Commands) -> None:
    flags, data = (*BASE, f"--evaluator.run_dir={commands.root / 'study'}"), commands.contexts(tasks=1)
    commands("test", *flags, data=data)
    with counted() as counts:
        commands("test", *flags, "--trainer.precision=bf16-mixed", data=data)
    assert counts["generations"] == 8
