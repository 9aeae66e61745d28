"""What may lie in a draft's folder."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dftt.models.checkpoint import load_draft, weight_files
from tests.fakes import tiny_draft_dir

NEUTRAL = [
    "README.md",
    "LICENSE",
    "NOTICE.txt",
    "dflash_system.png",
    ".gitattributes",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
    "dflash.py",
    "training_state_rank0.pt",
    "optimizer.pt",
    "trainer_state.json",
]
STRANGERS = [
    "selector.safetensors",
    "model-00002-of-00002.safetensors",
    "adapter_model.safetensors",
    "d2t.pt",
    "t2d.npy",
    "mask_embedding.pt",
    "pytorch_model.bin",
    "model.gguf",
    "modeling_other.py",
    "hf_quant_config.json",
    "adapter_config.json",
    "config_draft.json",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_draft_dir(tmp_path)


def in_shards(folder: Path, *, index: bool) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(sorted(tensors))}
    for shard in sorted(set(where.values())):
        save_file({name: tensors[name] for name in tensors if where[name] == shard}, folder / shard)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def test_known_files_beside_the_weights_are_no_matter(folder: Path) -> None:
    for name in NEUTRAL:
        (folder / name).write_text("anything")
    (folder / "assets").mkdir()
    assert weight_files(folder) == [folder / "model.safetensors"]


@pytest.mark.parametrize("name", STRANGERS)
def test_other_files_are_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    (folder / "model.safetensors").write_bytes(b"not read before the refusal")
    with pytest.raises(ValueError, match=f"has the file {name}, which is not known here") as caught:
        load_draft(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", [False, True])
def test_shards_are_one_draft(folder: Path, index: bool) -> None:
    whole = load_draft(folder).state_dict()
    in_shards(folder, index=index)
    loaded = load_draft(folder).state_dict()
    assert loaded.keys() == whole.keys()
    assert all(torch.equal(loaded[name], whole[name]) for name in whole)


@pytest.mark.parametrize("index", [False, True])
def test_a_missing_shard_is_named(folder: Path, index: bool) -> None:
    in_shards(folder, index=index)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model-00001-of-00002\.safetensors"):
        load_draft(folder)


def test_a_shard_that_the_index_leaves_out_is_refused(folder: Path) -> None:
    in_shards(folder, index=True)
    save_file({"fc.weight": torch.zeros(32, 96)}, folder / "model-00003-of-00003.safetensors")
    with pytest.raises(ValueError, match=r"has the file model-00003-of-00003\.safetensors"):
        load_draft(folder)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"weight_map": 3}'])
def test_an_index_without_a_map_is_refused(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match="has no weight_map"):
        load_draft(folder)


def test_two_sets_of_weights_are_refused(folder: Path) -> None:
    torch.save({"draft_state_dict": {}}, folder / "training_state.pt")
    with pytest.raises(ValueError, match=r"two sets of weights, model\.safetensors and training_state\.pt"):
        load_draft(folder)


def test_a_training_state_of_something_else_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"model": {}}, folder / "training_state.pt")
    with pytest.raises(ValueError, match="has no draft_state_dict"):
        load_draft(folder)
