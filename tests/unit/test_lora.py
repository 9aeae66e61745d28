import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from dftt.adaptation.losses import run_blocks
from dftt.models import lora
from dftt.models.draft import DFlashDraft
from dftt.models.lora import Adapter, applied, attach_, detach_
from dftt.models.pair import Pair
from dftt.types import LORA_MODULES
from tests.fakes import random_prompt

SUBSETS = [(name,) for name in LORA_MODULES] + [("fc", "q_proj", "k_proj", "v_proj"), LORA_MODULES]


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Iterator[Pair]:
    """The tiny pair, which every test must leave bitwise as it was."""
    pair = tiny_pair("qwen3")
    before = {name: tensor.clone() for name, tensor in pair.draft.state_dict().items()}
    yield pair
    after = pair.draft.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def slots(pair: Pair) -> Tensor:
    """Hidden states of a few blocks."""
    prompt = random_prompt(20)
    anchors = torch.tensor([[3, 8, 15]])
    anchor_ids = torch.tensor([prompt.input_ids])[:, [3, 8, 15]]
    with torch.no_grad():
        features = pair.prefill(prompt).features[None]
        return run_blocks(pair.draft, pair.target, features=features, anchors=anchors, anchor_ids=anchor_ids)


def random_adapter(
    draft: DFlashDraft, *, seed: int = 1, rank: int = 2, modules: tuple[str, ...] = ("fc", "k_proj")
) -> Adapter:
    attach_(draft, rank=rank, lora_alpha=3.5, modules=modules, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(tensor.shape, generator=generator) * 0.1 for name, tensor in lora.read_weights(draft).items()
    }
    detach_(draft)
    return Adapter(rank, 3.5, modules, weights)


@pytest.mark.parametrize("modules", SUBSETS, ids=["+".join(each) for each in SUBSETS])
def test_a_fresh_adapter_is_bitwise_the_base_draft(pair: Pair, modules: tuple[str, ...]) -> None:
    base = slots(pair)
    attach_(pair.draft, rank=4, lora_alpha=8.0, modules=modules, seed=0)
    try:
        assert torch.equal(slots(pair), base)
    finally:
        detach_(pair.draft)


@pytest.mark.parametrize("modules", SUBSETS, ids=["+".join(each) for each in SUBSETS])
def test_adapter_sits_on_the_named_modules_only(pair: Pair, modules: tuple[str, ...]) -> None:
    parameters = attach_(pair.draft, rank=4, lora_alpha=8.0, modules=modules, seed=0)
    names = [name for name, parameter in pair.draft.named_parameters() if parameter.requires_grad]
    detach_(pair.draft)
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in names} == set(modules)
    assert all(lora.is_adapter_key(name) for name in names)
    per_layer = [name for name in modules if name != "fc"]
    assert len(parameters) == len(names) == 2 * (2 * len(per_layer) + ("fc" in modules))


@pytest.mark.parametrize("modules", SUBSETS, ids=["+".join(each) for each in SUBSETS])
def test_an_adapter_with_weights_changes_the_draft(pair: Pair, modules: tuple[str, ...]) -> None:
    base = slots(pair)
    with applied(pair.draft, random_adapter(pair.draft, modules=modules)):
        assert not torch.allclose(slots(pair), base, atol=1e-4)


def test_after_detaching_the_draft_is_bitwise_the_base(pair: Pair) -> None:
    base, modules = slots(pair), [type(module) for module in pair.draft.modules()]
    with applied(pair.draft, random_adapter(pair.draft)):
        pass
    assert torch.equal(slots(pair), base)
    assert [type(module) for module in pair.draft.modules()] == modules
    assert not hasattr(pair.draft, "peft_config")


def test_an_error_inside_leaves_the_base_draft(pair: Pair) -> None:
    base = slots(pair)
    with pytest.raises(RuntimeError, match="boom"), applied(pair.draft, random_adapter(pair.draft)):
        raise RuntimeError("boom")
    assert torch.equal(slots(pair), base)
    assert not lora.is_attached(pair.draft)


def test_no_adapter_changes_nothing(pair: Pair) -> None:
    base = slots(pair)
    with applied(pair.draft, None):
        assert torch.equal(slots(pair), base)


def test_an_applied_adapter_is_frozen(pair: Pair) -> None:
    with applied(pair.draft, random_adapter(pair.draft)):
        assert not any(parameter.requires_grad for parameter in pair.draft.parameters())


def test_two_adapters_at_once_are_refused(pair: Pair) -> None:
    adapter = random_adapter(pair.draft)
    with (
        applied(pair.draft, adapter),
        pytest.raises(ValueError, match="already carries an adapter"),
        applied(pair.draft, adapter),
    ):
        pass


def test_adapter_scale_is_alpha_over_rank(pair: Pair) -> None:
    adapter = random_adapter(pair.draft, modules=("fc",))
    features = torch.randn(3, 96)
    base = pair.draft.fc(features)
    down, up = adapter.weights["fc.lora_A.weight"], adapter.weights["fc.lora_B.weight"]
    with applied(pair.draft, adapter):
        out = pair.draft.fc(features)
    torch.testing.assert_close(out, base + features @ down.T @ up.T * (3.5 / 2), atol=1e-5, rtol=0)


def test_a_saved_adapter_is_read_back_bitwise(pair: Pair, tmp_path: Path) -> None:
    adapter = random_adapter(pair.draft)
    loaded = Adapter.load(adapter.save(tmp_path))
    assert loaded.identity == adapter.identity
    assert loaded.weights.keys() == adapter.weights.keys()
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in adapter.weights.items())


def test_an_adapter_that_is_not_finite_is_refused(pair: Pair) -> None:
    adapter = random_adapter(pair.draft)
    weights = {name: tensor.clone() for name, tensor in adapter.weights.items()}
    name = sorted(weights)[0]
    weights[name][0, 0] = float("nan")
    with pytest.raises(ValueError, match=f"adapter: {name} holds numbers that are not finite"):
        replace(adapter, weights=weights)


def test_peft_loads_the_folder_onto_the_draft(pair: Pair, tmp_path: Path) -> None:
    adapter = random_adapter(pair.draft, modules=LORA_MODULES)
    folder = adapter.save(tmp_path)
    with applied(pair.draft, adapter):
        ours = slots(pair)
    wrapped = PeftModel.from_pretrained(copy.deepcopy(pair.draft), str(folder))  # pyright: ignore[reportArgumentType]
    inner = wrapped.get_base_model()
    assert isinstance(inner, DFlashDraft)
    assert torch.equal(slots(Pair(pair.target, inner)), ours)


def test_attaching_leaves_the_global_random_state(pair: Pair) -> None:
    """PEFT draws A from the global generator: without a fork, adapting changes all later draws."""
    before = torch.get_rng_state()
    attach_(pair.draft, rank=2, lora_alpha=1.0, modules=("fc",), seed=3)
    detach_(pair.draft)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_start_follows_the_seed_alone(pair: Pair) -> None:
    def start(seed: int, noise: int) -> Tensor:
        torch.manual_seed(noise)
        attach_(pair.draft, rank=2, lora_alpha=1.0, modules=("fc",), seed=seed)
        weights = lora.read_weights(pair.draft)
        detach_(pair.draft)
        return weights["fc.lora_A.weight"]

    assert torch.equal(start(3, 0), start(3, 1))
    assert not torch.equal(start(3, 0), start(4, 0))


def test_adapter_stays_in_float32_on_a_bf16_draft(pair: Pair) -> None:
    """In bf16, small AdamW updates would round away."""
    draft = copy.deepcopy(pair.draft).to(torch.bfloat16)
    parameters = attach_(draft, rank=2, lora_alpha=1.0, modules=("fc", "q_proj"), seed=0)
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


def test_learning_keeps_no_float32_copy_of_a_bf16_context(pair: Pair) -> None:
    draft = copy.deepcopy(pair.draft).to(torch.bfloat16)
    attach_(draft, rank=2, lora_alpha=4, modules=("fc", "k_proj", "v_proj"), seed=0)
    features = torch.randn(1, 50, draft.fc.in_features, dtype=torch.bfloat16)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        draft.fc(features)
    assert all(tensor.dtype == torch.bfloat16 for tensor in kept if tensor.numel() >= features.numel())
    assert any(tensor.data_ptr() == features.data_ptr() for tensor in kept)


def test_gradients_in_bf16_are_those_in_float32(pair: Pair) -> None:
    wide, narrow = (copy.deepcopy(pair.draft.fc) for _ in range(2))
    features = torch.randn(1, 50, wide.in_features).bfloat16()
    gradients = []
    for fc, dtype in ((wide, torch.float32), (narrow, torch.bfloat16)):
        draft = copy.deepcopy(pair.draft)
        draft.fc = fc
        draft.to(dtype)
        first, second = attach_(draft, rank=2, lora_alpha=4, modules=("fc",), seed=0)
        second.data.fill_(0.1)
        draft.fc(features.to(dtype)).float().pow(2).mean().backward()
        assert first.grad is not None
        assert first.grad.dtype == torch.float32
        gradients.append(first.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.05, atol=0.02 * float(gradients[0].abs().max()))


@pytest.mark.parametrize(
    ("name", "new_name", "message"),
    [
        ("fc.lora_A.weight", None, r"1 missing \(fc.lora_A.weight\)"),
        ("fc.lora_A.weight", "bogus", r"1 missing \(fc.lora_A.weight\), 1 unexpected \(bogus\)"),
    ],
)
def test_foreign_weights_are_refused_by_name(pair: Pair, name: str, new_name: str | None, message: str) -> None:
    adapter = random_adapter(pair.draft)
    weights = dict(adapter.weights)
    tensor = weights.pop(name)
    if new_name:
        weights[new_name] = tensor
    with (
        pytest.raises(ValueError, match=f"adapter does not fit this draft: tensors {message}"),
        applied(pair.draft, Adapter(2, 3.5, adapter.modules, weights)),
    ):
        pass
    assert not lora.is_attached(pair.draft)


def test_weights_of_another_rank_are_refused(pair: Pair) -> None:
    adapter = random_adapter(pair.draft, rank=4)
    with (
        pytest.raises(
            ValueError, match=r"does not fit this draft: its fc\.lora_A\.weight is \(4, 96\), this draft's \(2, 96\)"
        ),
        applied(pair.draft, Adapter(2, 3.5, adapter.modules, adapter.weights)),
    ):
        pass


@pytest.mark.parametrize(
    ("rank", "modules", "message"),
    [
        (0, ("fc",), "adapter.rank must be >= 1, got 0"),
        (1, ("lm_head",), "unknown 'lm_head'"),
        (1, (), "is empty"),
    ],
)
def test_an_impossible_adapter_is_refused(pair: Pair, rank: int, modules: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attach_(pair.draft, rank=rank, lora_alpha=1.0, modules=modules, seed=0)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_without_a_file_is_refused(pair: Pair, tmp_path: Path, name: str) -> None:
    random_adapter(pair.draft).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"has no {name}; give a PEFT folder"):
        Adapter.load(tmp_path)


def saved_with(pair: Pair, folder: Path, change: dict) -> Path:
    path = random_adapter(pair.draft).save(folder) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


NOT_PLAIN = [
    {"peft_type": "LOHA"},
    {"use_dora": True},
    {"use_rslora": True},
    {"rank_pattern": {"fc": 3}},
    {"alpha_pattern": {"fc": 3}},
    {"bias": "all"},
    {"lora_bias": True},
    {"fan_in_fan_out": True},
    {"modules_to_save": ["norm"]},
    {"layers_to_transform": [0]},
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": 3},
    {"target_modules": "all-linear"},
    {"target_modules": None},
    {"r": "2"},
    {"r": True},
    {"lora_alpha": None},
    {"scale_by": "sqrt"},
]


@pytest.mark.parametrize("change", NOT_PLAIN, ids=str)
def test_other_kinds_of_adapters_are_refused(pair: Pair, tmp_path: Path, change: dict) -> None:
    folder = saved_with(pair, tmp_path, change)
    ((name, value),) = change.items()
    (folder / "adapter_model.safetensors").write_bytes(b"not read before the refusal")
    said = re.escape(f"{name}={value!r}")
    with pytest.raises(ValueError, match=f"is not a plain LoRA adapter: .* says {said}; accepted is") as caught:
        Adapter.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", sorted({*LoraConfig().to_dict(), "a_field_of_a_newer_peft"}))
def test_every_field_of_peft_is_honoured_neutral_or_refused(pair: Pair, tmp_path: Path, field: str) -> None:
    """A field with a value of its own is refused by name, unless it is read or known to be without effect."""
    read = {"peft_type", "r", "lora_alpha", "target_modules"}
    default = LoraConfig().to_dict().get(field)
    if field not in read:
        assert Adapter.load(saved_with(pair, tmp_path, {field: default})).rank == 2
    folder = saved_with(pair, tmp_path, {field: ["other"]})
    if field in lora.NEUTRAL_FIELDS:
        assert Adapter.load(folder).identity == (2, 3.5, ("fc", "k_proj"))
    else:
        with pytest.raises(ValueError, match=field if field not in read else "adapter"):
            Adapter.load(folder)


def test_a_rank_stabilised_scale_is_another_scale(pair: Pair) -> None:
    """Why use_rslora is refused: PEFT multiplies by alpha / sqrt(rank) where it is set."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["fc"], use_rslora=True)
    draft = copy.deepcopy(pair.draft)
    inject_adapter_in_model(config, draft)
    layer: Any = draft.fc
    assert layer.scaling["default"] == 8 / 4**0.5


def test_tensors_that_are_no_lora_are_refused(pair: Pair, tmp_path: Path) -> None:
    folder = random_adapter(pair.draft).save(tmp_path)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(weights | {"base_model.model.norm.weight": torch.ones(32)}, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"its weights hold norm\.weight"):
        Adapter.load(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_an_adapter_config_that_is_none_is_refused(pair: Pair, tmp_path: Path, text: str) -> None:
    (random_adapter(pair.draft).save(tmp_path) / "adapter_config.json").write_text(text)
    with pytest.raises(ValueError, match=r"adapter_config\.json (is not JSON|must hold an object)"):
        Adapter.load(tmp_path)
