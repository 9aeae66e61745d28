"""Drafts in the layouts of others: the same weights, the same tokens, the same acceptance lengths."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import dftt
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.export import main
from dftt.models import bundled, checkpoint
from dftt.models.checkpoint import load_draft, save_draft
from dftt.models.draft import FULL, SLIDING
from dftt.models.layouts import LAYOUTS
from dftt.models.lora import Adaptation, Adapter, applied
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import LORA_MODULES, DecodingSpec, Prompt, TTTSpec
from tests.commands import Commands
from tests.fakes import tiny_draft_dir
from tests.native_dflash import HAS_NATIVE_DFLASH, native_loop
from tests.plain_loop import plain_loop
from tests.published_drafts import LLAMA3_ROPE, NATIVE, SPECULATORS

NEW = 30  # tokens
GREEDY = DecodingSpec(max_new_tokens=NEW, ignore_eos=True)
KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "sliding": {"layer_types": (SLIDING, FULL), "sliding_window": 9},
    "bias": {"attention_bias": True},
    "yarn": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
    "llama3": {"rope_parameters": {**LLAMA3_ROPE, "rope_theta": 1e4, "original_max_position_embeddings": 64}},
    "gapped taps": {"taps": (0, 2)},
    "nothing said of the target": {"num_target_layers": None},
}
UNHELD = {("speculators", "sliding"), ("transformers", "bias")}  # refused by name
HELD = [(format, kind) for format in LAYOUTS for kind in KINDS if (format, kind) not in UNHELD]
native_only = pytest.mark.skipif(not HAS_NATIVE_DFLASH, reason="this transformers has no DFlash decoding of its own")


def export(draft: Path, format: str, out: Path, *more: str | Path) -> Path:
    """The folder that the command writes."""
    main([str(each) for each in (draft, "--format", format, "--out", out, *more)])
    return out


def refused(capfd: pytest.CaptureFixture[str], draft: Path | str, *arguments: str | Path) -> str:
    """The one line that the command is refused with, before the weights of any model are read."""
    capfd.readouterr()
    with (
        patch.object(Target, "load", side_effect=AssertionError("the target was loaded")),
        patch.object(checkpoint, "_read_tensors", side_effect=AssertionError("the draft was loaded")),
        pytest.raises(SystemExit) as stopped,
    ):
        main([str(each) for each in (draft, *arguments)])
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def edited(folder: Path, **changes: Any) -> Path:
    """The draft's folder with keys of its config.json set."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def assert_same(one: Path, other: Path) -> None:
    first, second = load_draft(one, dtype=None), load_draft(other, dtype=None)
    assert first.config == second.config
    weights = second.state_dict()
    assert first.state_dict().keys() == weights.keys()
    for name, tensor in first.state_dict().items():
        assert tensor.dtype == weights[name].dtype
        assert torch.equal(tensor, weights[name]), name


@pytest.fixture(scope="module")
def good(good_pair: Callable[..., tuple[Pair, Prompt]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a draft that its target accepts sometimes."""
    return save_draft(good_pair("qwen3")[0].draft, tmp_path_factory.mktemp("good") / "draft")


@pytest.fixture(scope="module")
def adapted(good_pair: Callable[..., tuple[Pair, Prompt]]) -> Adapter:
    """An adapter of all modules for that draft, learnt from the target's answer, so that more of it is accepted."""
    pair, prompt = good_pair("qwen3")
    answer = generate(pair, prompt, replace(GREEDY, max_new_tokens=60)).token_ids
    spec = TTTSpec(steps=20, lr=1e-2, modules=LORA_MODULES)
    return ttt_adapt(pair, Prompt(prompt.input_ids + answer), spec).adapter


@pytest.mark.parametrize(("format", "kind"), HELD)
def test_a_round_trip_is_bitwise(tmp_path: Path, format: str, kind: str) -> None:
    source = tiny_draft_dir(tmp_path / "source", **KINDS[kind])
    there = export(source, format, tmp_path / "there")
    assert_same(there, source)
    assert_same(export(there, "zlab", tmp_path / "back"), source)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_keep_the_precision_that_they_have(tmp_path: Path, tiny_draft: Callable[..., Path], dtype: Any) -> None:
    source = save_draft(load_draft(tiny_draft(), dtype=torch.float64), tmp_path / "source", dtype=dtype)
    for format in LAYOUTS:
        there = export(source, format, tmp_path / format)
        assert {tensor.dtype for tensor in load_file(there / "model.safetensors").values()} == {dtype}
        assert_same(there, source)


@pytest.mark.parametrize(("format", "published"), [("speculators", SPECULATORS), ("transformers", NATIVE)])
def test_keys_are_those_of_published_drafts(
    tiny_draft: Callable[..., Path], tmp_path: Path, format: str, published: dict[str, Any]
) -> None:
    """Beside them stand what only dftt checks and settings that say nothing."""
    config = json.loads((export(tiny_draft(), format, tmp_path / "out") / "config.json").read_text())
    assert {key for key in config if config[key] is not None} - published.keys() <= {
        "num_target_layers",
        "vocab_size",
        "dtype",
    }
    if format == "speculators":
        assert config["transformer_layer_config"].keys() - published["transformer_layer_config"].keys() <= {
            "rope_theta"
        }
        assert config["speculators_config"].keys() == published["speculators_config"].keys()
        assert config["speculators_config"]["proposal_methods"][0]["speculative_tokens"] == 3
        assert config["aux_hidden_state_layer_ids"] == [1, 2, 3]
    else:
        assert config["target_layer_ids"] == [0, 1, 2]


def test_speculators_config_names_the_target(tiny_draft: Callable[..., Path], tmp_path: Path) -> None:
    config = export(tiny_draft(), "speculators", tmp_path / "out", "--target", "Qwen/Qwen3-8B") / "config.json"
    assert json.loads(config.read_text())["speculators_config"]["verifier"]["name_or_path"] == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("format", ["zlab", "speculators"])
@pytest.mark.parametrize("merged", [False, True])
def test_the_published_loop_accepts_what_ours_does(
    good_pair: Any, reference: Any, good: Path, adapted: Adapter, tmp_path: Path, format: str, merged: bool
) -> None:
    pair, prompt = good_pair("qwen3")
    more = ("--adapter", adapted.save(tmp_path / "adapter")) if merged else ()
    tokens, lengths = plain_loop(
        reference("qwen3"), export(good, format, tmp_path / "out", *more), prompt.input_ids, NEW
    )
    ours = generate(pair, prompt, GREEDY, adaptation=Adaptation(adapted, (), 0.0, 0) if merged else None)
    assert tuple(tokens[:NEW]) == ours.token_ids
    assert tuple(lengths) == ours.acceptance_lengths
    assert ours.tau > 1.3


@native_only
@pytest.mark.parametrize("kind", ["full", "sliding", "yarn", "llama3"])
@pytest.mark.parametrize("merged", [False, True])
def test_transformers_loop_accepts_what_ours_does(
    good_pair: Any, reference: Any, good: Path, adapted: Adapter, tmp_path: Path, merged: bool, kind: str
) -> None:
    """Greedy tokens and acceptance lengths; the native loop shortens the block at the end, so that is left out."""
    pair, prompt = good_pair("qwen3")
    draft = load_draft(good)
    draft.config = replace(draft.config, **KINDS[kind])
    source = save_draft(draft, tmp_path / "source")
    more = ("--adapter", adapted.save(tmp_path / "adapter")) if merged else ()
    folder = export(source, "transformers", tmp_path / "out", *more)
    assistant = AutoModel.from_pretrained(folder)
    assert type(assistant).__name__ == "MuseGlimmerAssistantModel"
    tokens, lengths = native_loop(reference("qwen3"), assistant, prompt.input_ids, NEW + 8)
    ours = generate(Pair(pair.target, load_draft(folder)), prompt, replace(GREEDY, max_new_tokens=NEW + 8))
    assert tokens == ours.token_ids
    assert len(set(ours.acceptance_lengths)) > 1
    assert lengths[: len(ours.acceptance_lengths) - 3] == ours.acceptance_lengths[:-3]


def test_merging_is_the_float32_sum_rounded_once(good: Path, adapted: Adapter) -> None:
    """In bfloat16 the update would be rounded twice."""
    draft = load_draft(good, dtype=torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in draft.state_dict().items()}
    merged = dftt.merge(draft, adapted).state_dict()
    changed = 0
    for name, weight in before.items():
        module = name.removesuffix(".weight")
        update = torch.zeros(())
        if f"{module}.lora_A.weight" in adapted.weights:
            update = 2.0 * adapted.weights[f"{module}.lora_B.weight"] @ adapted.weights[f"{module}.lora_A.weight"]
            changed += 1
        assert torch.equal(merged[name], (weight.float() + update).bfloat16()), name
    assert changed == 1 + 7 * 2
    assert adapted.lora_alpha / adapted.rank == 2.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in draft.state_dict().items())


def test_a_merged_draft_is_loaded_by_peft_too(good: Path, adapted: Adapter, tmp_path: Path) -> None:
    """PEFT merges its own folder into the same draft."""
    from peft import PeftModel

    theirs = PeftModel.from_pretrained(load_draft(good), str(adapted.save(tmp_path))).merge_and_unload().state_dict()  # pyright: ignore
    for name, tensor in dftt.merge(load_draft(good), adapted).state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=0)


def test_a_draft_that_carries_an_adapter_is_not_merged(good: Path, adapted: Adapter) -> None:
    draft = load_draft(good)
    with applied(draft, adapted), pytest.raises(ValueError, match="already carries an adapter"):
        dftt.merge(draft, adapted)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("bfloat16", 0.1)])
def test_tau_of_the_merged_folder_is_that_under_the_adapter(
    commands: Commands, good: Path, good_pair: Any, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    """What predict keeps in its store, exported: in float32 each acceptance length, in bfloat16 tau about the same."""
    pair, prompt = good_pair("qwen3")
    source = save_draft(load_draft(good), tmp_path / "source", dtype=getattr(torch, dtype))
    (tmp_path / "notes.md").write_text("No goat may vote twice. The mayor counts the goats. " * 4)
    ttt = ("--model.ttt.steps=20", "--model.ttt.lr=0.02", '--data.questions=["Who counts?"]')
    store = f"--model.ttt.store={tmp_path / 'store'}"
    commands("predict", f"--model.draft={source}", store, *ttt, data=tmp_path / "notes.md")
    merged = export(source, "zlab", tmp_path / "merged", "--adapter", tmp_path / "store")
    (kept,) = (tmp_path / "store").iterdir()
    base = generate(Pair(pair.target, load_draft(source)), prompt, GREEDY)
    under = generate(Pair(pair.target, load_draft(source)), prompt, GREEDY, adaptation=Adapter.load(kept))
    after = generate(Pair(pair.target, load_draft(merged)), prompt, GREEDY)
    assert base.acceptance_lengths != under.acceptance_lengths
    assert after.token_ids == under.token_ids
    assert after.tau == pytest.approx(under.tau, abs=tolerance)
    if dtype == "float32":
        assert after.acceptance_lengths == under.acceptance_lengths


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format", "gguf", "--out", "out"], "--format 'gguf': unknown; choose from zlab, speculators, transformers"),
        (["--format", "zlab", "--out", "config.json"], "--out config.json: is there already and is no empty folder"),
        (["--format", "zlab", "--out", "full"], "--out full: is there already and is no empty folder; name a new one"),
        (["--format", "zlab", "--out", "config.json/out"], "--out: nothing can be written in config.json/out"),
        (["--format", "zlab", "--out", "out", "--adapter", "absent"], "adapter absent has no adapter_config.json"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str
) -> None:
    monkeypatch.chdir(tiny_draft_dir(tmp_path / "draft"))
    Path("full").mkdir()
    Path("full/file").touch()
    assert message in refused(capfd, tmp_path / "draft", *flags)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("kind", "format", "message"),
    [
        (
            {"attention_bias": True},
            "transformers",
            "--format transformers has no place for attention_bias=True of draft",
        ),
        (KINDS["sliding"], "speculators", "has no place for window_from_anchor=False"),
        ({"vocab_size": None}, "zlab", "--format zlab needs vocab_size, which draft"),
        ({"vocab_size": None}, "speculators", "--format speculators needs vocab_size, which draft"),
    ],
)
def test_a_draft_that_a_format_cannot_hold_is_refused(
    capfd: Any, tmp_path: Path, kind: dict[str, Any], format: str, message: str
) -> None:
    source = tiny_draft_dir(tmp_path / "source", **{**kind, "vocab_size": 288})
    if "vocab_size" in kind:
        source = export(source, "transformers", tmp_path / "native")
        edited(source, vocab_size=None)
    assert message in refused(capfd, source, "--format", format, "--out", tmp_path / "out")


def test_a_reduced_vocabulary_is_refused_by_its_field(capfd: Any, tmp_path: Path) -> None:
    source = edited(export(tiny_draft_dir(tmp_path / "zlab"), "speculators", tmp_path / "draft"), draft_vocab_size=100)
    for format in LAYOUTS:
        line = refused(capfd, source, "--format", format, "--out", tmp_path / "out")
        assert "a reduced vocabulary (draft_vocab_size=100 of 288)" in line


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"taps": (1, 2)}, "its fc.lora_A.weight is (8, 96), this draft's (8, 64)"),
        ({"head_dim": 16}, "its layers.0.self_attn.q_proj.lora_B.weight is (32, 8), this draft's (64, 8)"),
        ({"num_layers": 3}, "14 missing (layers.2.mlp.down_proj.lora_A.weight"),
        ({"num_layers": 1}, "14 unexpected (layers.1.mlp.down_proj.lora_A.weight"),
    ],
)
def test_an_adapter_of_another_draft_is_refused(
    capfd: Any, tmp_path: Path, adapted: Adapter, overrides: dict[str, Any], message: str
) -> None:
    adapter, source = adapted.save(tmp_path / "adapter"), tiny_draft_dir(tmp_path / "draft", **overrides)
    line = refused(capfd, source, "--format", "zlab", "--out", tmp_path / "out", "--adapter", adapter)
    assert "adapter does not fit this draft: " in line
    assert message in line


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("r", 4, "is (8, 96), this draft's (4, 96)"),
        ("target_modules", ["fc"], "28 unexpected (layers.0.mlp.down_proj.lora_A.weight"),
        ("target_modules", ["lm_head"], "adapter.modules: unknown 'lm_head'"),
        ("use_dora", True, "adapter_config.json says use_dora=True"),
    ],
)
def test_an_adapter_whose_config_is_not_its_own_is_refused(
    capfd: Any, tmp_path: Path, adapted: Adapter, tiny_draft: Any, field: str, value: Any, message: str
) -> None:
    adapter = adapted.save(tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    arguments = ("--format", "zlab", "--out", tmp_path / "out", "--adapter", adapter)
    assert message in refused(capfd, tiny_draft(), *arguments)


def test_an_adapter_with_broken_weights_is_refused(
    capfd: Any, tmp_path: Path, adapted: Adapter, tiny_draft: Any
) -> None:
    adapter = adapted.save(tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").write_bytes(b"broken")
    line = refused(capfd, tiny_draft(), "--format", "zlab", "--out", tmp_path / "out", "--adapter", adapter)
    assert f"adapter {adapter} could not be loaded: SafetensorError" in line


def test_a_store_of_several_adapters_is_refused(capfd: Any, tmp_path: Path, adapted: Adapter, tiny_draft: Any) -> None:
    for name in ("one", "two", ".new-half"):
        adapted.save(tmp_path / "store" / name)
    arguments = ("--format", "zlab", "--out", tmp_path / "out", "--adapter", tmp_path / "store")
    line = refused(capfd, tiny_draft(), *arguments)
    assert f"keeps 2 adapters; give the folder of one, such as {tmp_path / 'store' / 'one'}" in line


@pytest.fixture
def with_vocabulary(good: Path, tiny_target: Callable[[str], Path], tmp_path: Path) -> Path:
    """A speculators folder with the target's embedding and head, as that library saved them."""
    folder = export(good, "speculators", tmp_path / "speculators")
    embedding = load_file(tiny_target("qwen3") / "model.safetensors")["model.embed_tokens.weight"]
    tensors = load_file(folder / "model.safetensors")
    save_file(
        tensors | {"embed_tokens.weight": embedding, "lm_head.weight": embedding.clone()}, folder / "model.safetensors"
    )
    return folder


def test_an_own_vocabulary_goes_along_to_speculators(with_vocabulary: Path, tmp_path: Path) -> None:
    there = load_file(export(with_vocabulary, "speculators", tmp_path / "there") / "model.safetensors")
    source = load_file(with_vocabulary / "model.safetensors")
    assert there.keys() == source.keys()
    assert all(torch.equal(tensor, source[name]) for name, tensor in there.items())


@pytest.mark.parametrize("format", ["zlab", "transformers"])
def test_an_own_vocabulary_is_left_out_only_if_it_is_the_targets(
    capfd: Any, with_vocabulary: Path, good: Path, tmp_path: Path, tiny_target: Any, format: str
) -> None:
    """Others would decode with the target's instead."""
    with pytest.raises(SystemExit):
        export(with_vocabulary, format, tmp_path / "out")
    assert f"--format {format} has no place for the own embed_tokens.weight" in capfd.readouterr().err
    other = load_file(tiny_target("qwen3") / "model.safetensors")
    other["model.embed_tokens.weight"][5] *= 1.01
    shutil.copytree(tiny_target("qwen3"), tmp_path / "tuned")
    save_file(other, tmp_path / "tuned" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SystemExit):
        export(with_vocabulary, format, tmp_path / "out", "--target", tmp_path / "tuned")
    assert "brings an own embed_tokens.weight" in capfd.readouterr().err
    assert_same(export(with_vocabulary, format, tmp_path / "out", "--target", tiny_target("qwen3")), good)


def test_the_draft_that_ships_can_be_exported(tmp_path: Path) -> None:
    there = export(Path("bundled:smollm2-135m"), "zlab", tmp_path / "there")
    assert_same(there, bundled.draft_folder())
    readme = (there / "README.md").read_text()
    assert "DFlashDraftModel" in readme
    assert "propose 9 tokens a block" in readme
