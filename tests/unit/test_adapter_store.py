from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dftt.adaptation.store import AdapterStore
from dftt.adaptation.ttt import ttt_adapt
from dftt.models.pair import Pair
from dftt.types import TTTSpec
from tests.fakes import random_prompt

SPEC = TTTSpec(steps=3, anchors=4, learns_from="self_study", study_samples=2, study_tokens=6)
CONTEXT = random_prompt(30)


def test_a_kept_adaptation_comes_back_equal(tiny_pair: Callable[..., Pair], tmp_path: Path) -> None:
    pair, store = tiny_pair("qwen3"), AdapterStore(tmp_path / "store")
    key = store.key(pair, CONTEXT.input_ids, SPEC)
    assert store.find(key) is None
    made = ttt_adapt(pair, CONTEXT, SPEC)
    store.keep(key, made)
    found = AdapterStore(tmp_path / "store").find(key)
    assert found is not None
    assert all(torch.equal(found.adapter.weights[name], made.adapter.weights[name]) for name in made.adapter.weights)
    assert found.adapter.identity == made.adapter.identity
    assert replace(found, adapter=made.adapter) == made


def test_every_setting_but_its_place_has_its_own_adapter(tiny_pair: Callable[..., Pair], tmp_path: Path) -> None:
    pair, store = tiny_pair("qwen3"), AdapterStore(tmp_path)
    (tmp_path / "prompts.txt").write_text("Sing it.")
    other: dict[str, Any] = {
        "steps": 4, "lr": 1.0, "warmup": 1, "decay": 0.5, "rank": 3, "lora_alpha": 2.0, "modules": ("fc",),
        "loss": "ce", "anchors": 5, "window": 9, "held_out": 5,
        "seed": 7, "max_grad_norm": 2.0, "patience": 3, "checkpointing": True,
        "learns_from": "context", "every": 8, "study_samples": 3, "study_tokens": 7, "study_temperature": 0.5,
        "study_prompts": str(tmp_path / "prompts.txt"), "study_context": False, "seconds": 9.0,
    }  # fmt: skip
    assert set(other) | {"store"} == {field.name for field in fields(TTTSpec)}
    keys = {store.key(pair, CONTEXT.input_ids, replace(SPEC, **{name: value})) for name, value in other.items()}
    keys |= {store.key(pair, CONTEXT.input_ids, SPEC), store.key(pair, CONTEXT.input_ids[:-1], SPEC)}
    keys |= {store.key(tiny_pair("llama"), CONTEXT.input_ids, SPEC), store.key(pair, CONTEXT.input_ids, SPEC, taps=1)}
    assert len(keys) == len(other) + 4
    assert store.key(pair, CONTEXT.input_ids, replace(SPEC, store="elsewhere")) in keys


def test_a_damaged_folder_is_named(tiny_pair: Callable[..., Pair], tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    store.keep("k", ttt_adapt(tiny_pair("qwen3"), CONTEXT, SPEC))
    (tmp_path / "k" / "adaptation.json").write_text("{")
    with pytest.raises(ValueError, match=r"ttt.store: .*k is damaged .* remove it"):
        store.find("k")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"ttt.store: .*file cannot be written"):
        AdapterStore(tmp_path / "file")
