import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dftt.models.checkpoint import load_draft, save_draft
from dftt.models.draft import DFlashDraft
from dftt.models.lora import attach_
from tests.fakes import tiny_draft_config

Rewrite = Callable[[dict[str, Any], dict[str, Tensor]], None]


@pytest.fixture
def draft() -> DFlashDraft:
    made = DFlashDraft(tiny_draft_config(taps=(1, 2, 3)))
    made.reset_parameters(0.2)
    return made


@pytest.fixture
def folder(draft: DFlashDraft, tmp_path: Path) -> Path:
    return save_draft(draft, tmp_path / "z-lab")


def rewritten(folder: Path, change: Rewrite) -> Path:
    """The folder after `change` has edited its config and its tensors in place."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def assert_same_draft(loaded: DFlashDraft, draft: DFlashDraft) -> None:
    expected = draft.state_dict()
    assert loaded.config.tap_ids == draft.config.tap_ids
    assert loaded.config.mask_token_id == draft.config.mask_token_id
    assert loaded.config.block_size == draft.config.block_size
    assert set(loaded.state_dict()) == set(expected)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"layer_types": ("sliding_attention", "full_attention"), "sliding_window": 9},
        {"attention_bias": True},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}},
    ],
    ids=["full", "sliding", "bias", "yarn"],
)
def test_round_trip_is_bitwise(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """A saved sliding draft could not be loaded: its config did not say that blocks are not causal."""
    draft = DFlashDraft(tiny_draft_config(**overrides))
    draft.reset_parameters(0.2)
    loaded = load_draft(save_draft(draft, tmp_path))
    assert loaded.config == draft.config
    assert_same_draft(loaded, draft)


def test_saving_can_convert_the_precision(draft: DFlashDraft, tmp_path: Path) -> None:
    save_draft(draft, tmp_path, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_loaded_draft_is_frozen_and_in_the_wanted_precision(folder: Path) -> None:
    loaded = load_draft(folder, dtype=torch.float64)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float64}
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training


def test_z_lab_layer_ids_count_from_the_first_layer(folder: Path) -> None:
    """Off by one between formats was a real bug (vLLM 42704): hidden state 0 is the embedding."""
    nested = json.loads((folder / "config.json").read_text())["dflash_config"]
    assert nested["target_layer_ids"] == [0, 1, 2]


def test_block_size_inside_dflash_config_is_read(folder: Path, draft: DFlashDraft) -> None:
    def newer(config: dict[str, Any], _: dict[str, Tensor]) -> None:
        config["dflash_config"]["block_size"] = config.pop("block_size")

    assert_same_draft(load_draft(rewritten(folder, newer)), draft)


def test_an_old_config_with_top_level_rope_theta_is_read(folder: Path) -> None:
    def older(config: dict[str, Any], _: dict[str, Tensor]) -> None:
        del config["rope_parameters"]
        config["rope_theta"] = 1e6

    rope = load_draft(rewritten(folder, older)).config.rope_parameters
    assert rope == {"rope_theta": 1e6, "rope_type": "default"}


def test_weights_may_come_in_several_files(folder: Path, draft: DFlashDraft) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    save_file({name: tensors[name] for name in names[:9]}, folder / "model-00001-of-00002.safetensors")
    save_file({name: tensors[name] for name in names[9:]}, folder / "model-00002-of-00002.safetensors")
    assert_same_draft(load_draft(folder), draft)


def gapped(tmp_path: Path) -> tuple[DFlashDraft, Path]:
    """A draft whose taps no rule gives: not next to each other, and the last one is not the target's last layer."""
    draft = DFlashDraft(tiny_draft_config(taps=(1, 4, 6), num_target_layers=9))
    draft.reset_parameters(0.2)
    return draft, save_draft(draft, tmp_path / "gapped")


def test_the_layout_native_to_transformers_is_read(tmp_path: Path) -> None:
    """Its ids count from the first layer, as z-lab's; it says neither vocabulary nor how many layers the target has."""
    draft, folder = gapped(tmp_path)

    def native(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        config |= config.pop("dflash_config")
        del config["num_target_layers"], config["vocab_size"]
        tensors["encoder.fc.weight"] = tensors.pop("fc.weight")
        tensors["encoder.output_norm_enc.weight"] = tensors.pop("hidden_norm.weight")

    loaded = load_draft(rewritten(folder, native))
    assert json.loads((folder / "config.json").read_text())["target_layer_ids"] == [0, 3, 5]
    assert (loaded.config.num_target_layers, loaded.config.vocab_size) == (None, None)
    assert_same_draft(loaded, draft)


def speculators(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """The layout of speculators: nested config, ids that index hidden states, borrowed tensors beside."""
    nested = config.pop("dflash_config")
    inner = dict(config)
    block_size = inner.pop("block_size")
    inner.pop("num_target_layers")
    inner.pop("architectures")
    config.clear()
    config |= {
        "speculators_model_type": "dflash",
        "architectures": ["DFlashSpeculator"],
        "transformer_layer_config": inner,
        "aux_hidden_state_layer_ids": [layer + 1 for layer in nested["target_layer_ids"]],
        "block_size": block_size,
        "mask_token_id": nested["mask_token_id"],
        "draft_vocab_size": inner["vocab_size"],
    }
    tensors["embed_tokens.weight"] = torch.zeros(288, 32)
    tensors["lm_head.weight"] = torch.zeros(288, 32)
    tensors["verifier_norm.weight"] = torch.ones(32)
    tensors["t2d"] = torch.ones(288, dtype=torch.bool)


def test_the_speculators_layout_is_read_with_its_own_layer_ids(tmp_path: Path) -> None:
    """Its ids index hidden states; the target's layers are not counted from the last of them."""
    draft, folder = gapped(tmp_path)
    loaded = load_draft(rewritten(folder, speculators))
    assert json.loads((folder / "config.json").read_text())["aux_hidden_state_layer_ids"] == [1, 4, 6]
    assert loaded.config.num_target_layers is None
    assert loaded.own_vocabulary.keys() == {"embed_tokens.weight", "lm_head.weight"}
    assert_same_draft(loaded, draft)


def test_a_raw_training_state_is_read(folder: Path, draft: DFlashDraft) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({"draft_state_dict": tensors, "step": 7}, folder / "training_state.pt")
    assert_same_draft(load_draft(folder), draft)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda _, t: t.pop("layers.1.mlp.up_proj.weight"),
            r"1 tensors missing: layers\.1\.mlp\.up_proj\.weight",
        ),
        (lambda _, t: t.update({"bogus.weight": torch.zeros(1)}), r"1 tensors unexpected: bogus\.weight"),
        (
            lambda _, t: t.update({"fc.weight": torch.zeros(32, 32)}),
            r"wrong shape: fc\.weight \(32, 32\) instead of \(32, 96\)",
        ),
        (lambda c, _: c.update(num_hidden_layers=3, layer_types=None), "11 tensors missing: .* and 8 more"),
    ],
    ids=["missing", "unexpected", "shape", "layers"],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, change: Rewrite, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_draft(rewritten(folder, change))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("candidate_selector.hidden_projection.weight", "DFlash 2"),
        ("layers.0.attention_conv.base_kernel", "DFlash 2"),
        ("markov_head.weight", "DSpark"),
        ("confidence_head.weight", "DSpark"),
        ("prefix_gru.weight_ih_l0", "Domino"),
        ("embed_proj.0.weight", "Domino"),
    ],
)
def test_other_kinds_of_drafts_are_refused_by_name(folder: Path, name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"is a {kind} checkpoint"):
        load_draft(rewritten(folder, lambda _, tensors: tensors.update({name: torch.zeros(1)})))


@pytest.mark.parametrize("flag", [{"causal_head": True}, {"draft_shift": 1}])
def test_jetspec_is_refused_by_name(folder: Path, flag: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a JetSpec draft"):
        load_draft(rewritten(folder, lambda config, _: config["dflash_config"].update(flag)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draft_vocab_size": 100}, "a reduced vocabulary .draft_vocab_size=100 of 288. is not supported"),
        ({"sample_from_anchor": True}, "sample_from_anchor drafts are not supported"),
        ({"speculators_model_type": "eagle3"}, "speculators model type 'eagle3' is not supported"),
        ({"aux_hidden_state_layer_ids": None}, "lacks aux_hidden_state_layer_ids"),
    ],
)
def test_speculators_variants_without_support_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    def variant(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        speculators(config, tensors)
        config |= change

    with pytest.raises(ValueError, match=message):
        load_draft(rewritten(folder, variant))


@pytest.mark.parametrize(
    "name",
    [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "block_size",
    ],
)
def test_a_missing_config_field_is_named(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"config.json lacks {name}"):
        load_draft(rewritten(folder, lambda config, _: config.pop(name)))


@pytest.mark.parametrize("name", ["mask_token_id", "target_layer_ids"])
def test_a_missing_dflash_field_is_named(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"config.json lacks {name}"):
        load_draft(rewritten(folder, lambda config, _: config["dflash_config"].pop(name)))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_config_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match="is not JSON"):
        load_draft(folder)


def test_a_config_that_holds_a_list_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold an object of keys and values, got list"):
        load_draft(folder)


def test_a_draft_with_an_adapter_is_not_saved(draft: DFlashDraft, tmp_path: Path) -> None:
    """Its folder could not be loaded: the tensors had the names that PEFT gives them."""
    attach_(draft, rank=2, lora_alpha=4, modules=("fc",), seed=0)
    with pytest.raises(ValueError, match=r"draft carries an adapter.* save it by itself with Adapter\.save"):
        save_draft(draft, tmp_path / "with-adapter")
    assert not (tmp_path / "with-adapter").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("config.json", "has no config.json"), ("model.safetensors", "no weights")]
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=message):
        load_draft(folder)
