"""What a draft's config.json may say: read and followed, without effect, or refused by name."""

import copy
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dftt.models import draft_keys
from dftt.models.checkpoint import NEUTRAL_FILES, load_draft, save_draft
from dftt.models.draft import DFlashDraft, GradContext
from dftt.models.draft_config import parse_config
from dftt.models.lora import NEUTRAL_FIELDS
from tests.fakes import tiny_draft_config
from tests.plain_draft import plain_hidden
from tests.published_drafts import CONFIGS, LLAMA3_ROPE, NATIVE, SPECULATORS, Z_LAB, Z_LAB_NESTED

SPECULATORS_SLIDING = {"layer_types": ["sliding_attention"] * 5, "sliding_window": 9, "use_sliding_window": True}
TAPS = (2, 10, 18, 26, 34)
Config = dict[str, Any]


def changed(config: Config, at: str, value: Any) -> Config:
    """The config with one key set, which may be "section.key"; an ellipsis takes it out."""
    config = copy.deepcopy(config)
    section, _, key = at.rpartition(".")
    place = config[section] if section else config
    if value is ...:
        place.pop(key)
    else:
        place[key] = value
    return config


def refusal(config: Config) -> str:
    with pytest.raises(ValueError, match=r"^draft: ") as caught:
        parse_config(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_published_shapes_are_read(name: str) -> None:
    config = parse_config(CONFIGS[name])
    assert config.tap_ids == TAPS
    assert config.mask_token_id == 151669
    assert config.block_size == (10 if "llama3" in name else 16)
    assert (config.hidden_size, config.num_layers, config.num_heads, config.num_kv_heads) == (4096, 5, 32, 8)
    assert config.rope_parameters["rope_theta"] == (5e5 if "llama3" in name else 1e6)
    assert config.vocab_size == (None if name == "native" else 151936)
    slides = name in ("z-lab, nested", "ModelOpt")
    assert config.layer_types == (("sliding_attention" if slides else "full_attention"),) * 5
    assert config.sliding_window == (2048 if slides else None)


@pytest.mark.parametrize(("config", "layers"), [(Z_LAB, 36), (Z_LAB_NESTED, None), (SPECULATORS, None), (NATIVE, None)])
def test_a_layer_count_that_is_not_said_is_not_guessed(config: Config, layers: int | None) -> None:
    assert parse_config(config).num_target_layers == layers


READ = {  # key of config.json: another value that must show in what is read, or be refused
    "hidden_size": 2048,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "intermediate_size": 64,
    "vocab_size": 100,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn", "factor": 2.0},
    "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
    "rope_theta": 5e5,
    "max_position_embeddings": 100,
    "layer_types": ["sliding_attention"] * 5,
    "sliding_window": 7,
    "use_sliding_window": False,
    "max_window_layers": 1,
    "attention_bias": True,
    "draft_vocab_size": 100,
    "target_hidden_size": 100,
    "block_size": 8,
    "num_target_layers": 35,
    "target_layer_ids": [1, 2],
    "mask_token_id": 5,
    "is_causal": True,
    "causal": True,
    "hidden_act": "relu",
    "window_from_anchor": True,
    "use_swa": True,
    "swa_window_size": 100,
    "eagle_aux_hidden_state_layer_ids": [1, 2],
    "speculators_model_type": "eagle3",
    "aux_hidden_state_layer_ids": [1, 2],
    "sample_from_anchor": True,
    "sliding_window_non_causal": True,
}


@pytest.mark.parametrize("key", sorted(draft_keys.SHAPE_KEYS | draft_keys.DRAFT_KEYS | draft_keys.SPECULATORS_KEYS))
def test_every_key_that_is_called_read_is_read(key: str) -> None:
    base = copy.deepcopy(Z_LAB)
    if key in draft_keys.SPECULATORS_KEYS - draft_keys.DRAFT_KEYS:
        base = copy.deepcopy(SPECULATORS)
    if key in ("sliding_window", "use_sliding_window", "max_window_layers", "window_from_anchor"):
        base |= {"layer_types": None, "use_sliding_window": True, "sliding_window": 9, "max_window_layers": 3}
        base["is_causal"] = False
    if key == "sliding_window_non_causal":
        base["transformer_layer_config"] |= SPECULATORS_SLIDING
    if key == "use_swa":
        base["sliding_window"] = 9
    place = "dflash_config." if key in base.get("dflash_config", {}) else ""
    try:
        before: Any = parse_config(base)
    except ValueError as error:
        before = str(error)
    try:
        after: Any = parse_config(changed(base, place + key, READ[key]))
    except ValueError as error:
        after = str(error)
        assert (
            key in after or repr(READ[key]) in after or key in ("draft_vocab_size", "num_hidden_layers", "layer_types")
        )
    assert after != before


@pytest.mark.parametrize("key", draft_keys.NEUTRAL_KEYS)
def test_neutral_keys_change_nothing(key: str) -> None:
    assert parse_config(changed(Z_LAB, key, "anything")) == parse_config(Z_LAB)


@pytest.mark.parametrize("key", draft_keys.ONLY_VALUES)
@pytest.mark.parametrize("section", ["", "dflash_config."])
def test_valued_keys_pass_at_their_neutral_values_only(key: str, section: str) -> None:
    for value in (None, *draft_keys.ONLY_VALUES[key]):
        if value == "muse_glimmer_assistant":
            continue
        assert parse_config(changed(Z_LAB, section + key, value)) == parse_config(Z_LAB)
    said = refusal(changed(Z_LAB, section + key, "other"))
    assert f"{section}{key}='other'" in said
    assert "accepted is" in said


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("hidden_act", "tanh"),
        ("input_embedding_scale", 64.0),
        ("dflash_config.output_multiplier", 0.5),
        ("final_logit_softcapping", 30.0),
        ("attention_sink_bias", True),
        ("is_neox_style", False),
        ("model_type", "gemma3"),
        ("architectures", ["DFlash2DraftModel"]),
        ("auto_map", {"AutoModel": "mine.MyDraft"}),
        ("quantization_config", {"quant_method": "fp8"}),
        ("new_scale", 2.0),
        ("dflash_config.new_scale", 2.0),
        ("dflash_config.hidden_size", 64),
        ("layer_types", ["chunked_attention"] * 5),
        ("layer_types", ["full_attention"] * 4 + ["linear_attention"]),
        ("num_hidden_layers", "5"),
        ("block_size", True),
        ("attention_bias", "false"),
        ("rms_norm_eps", "1e-6"),
        ("rms_norm_eps", float("nan")),
        ("dflash_config.target_layer_ids", "12345"),
        ("dflash_config.target_layer_ids", []),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 2.0}),
        ("rope_scaling", {"rope_type": ["yarn"]}),
        ("rope_scaling", {"rope_type": "yarn"}),
        ("rope_scaling", {"rope_type": "linear", "factor": 2.0, "new": 1}),
        ("rope_parameters", {name: LLAMA3_ROPE for name in ("full_attention", "chunked_attention")}),
        ("dflash_config.swa_window_size", 2048),
    ],
)
def test_what_changes_the_draft_is_refused_by_name(at: str, value: Any) -> None:
    said = refusal(changed(Z_LAB, at, value))
    shown = next(iter(value)) if isinstance(value, dict) and at.startswith("rope") else at.rpartition(".")[2]
    assert shown in said or repr(value) in said or "rope_type" in said


@pytest.mark.parametrize("key", draft_keys.OTHER_KINDS)
def test_keys_of_other_kinds_name_the_kind(key: str) -> None:
    assert draft_keys.OTHER_KINDS[key] in refusal(changed(Z_LAB, f"dflash_config.{key}", 2))
    assert parse_config(changed(Z_LAB, f"dflash_config.{key}", 0)) == parse_config(Z_LAB)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("dflash_config.block_size", 8),
        ("dflash_config.num_target_layers", 35),
        ("target_layer_ids", [1, 2]),
        ("rope_parameters", {"rope_theta": 10000.0, "rope_type": "default"}),
        ("eagle_aux_hidden_state_layer_ids", [1, 2]),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(at: str, value: Any) -> None:
    said = refusal(changed(Z_LAB, at, value))
    assert "agree" in said


@pytest.mark.parametrize(
    ("at", "value", "causal"),
    [
        ("is_causal", False, ()),
        ("dflash_config.is_causal", False, ()),
        ("dflash_config.causal", False, ()),
        ("is_causal", None, ("sliding_attention",)),
        ("is_causal", True, ("full_attention", "sliding_attention")),
        ("dflash_config.causal", True, ("full_attention", "sliding_attention")),
    ],
)
def test_causality_is_said_of_all_layers_or_follows_their_type(at: str, value: Any, causal: tuple[str, ...]) -> None:
    config = {**Z_LAB_NESTED, "is_causal": None, "layer_types": ["full_attention"] + ["sliding_attention"] * 4}
    assert parse_config(changed(config, at, value)).causal_types == causal


def test_two_words_on_causality_must_agree() -> None:
    assert "must agree" in refusal(changed(Z_LAB_NESTED, "dflash_config.causal", True))


def test_a_causal_window_smaller_than_the_block_is_refused() -> None:
    config = {**Z_LAB_NESTED, "is_causal": True, "sliding_window": 15}
    assert "sliding_window=15 is smaller than a causal block (16 slots)" in refusal(config)


def test_speculators_own_class_decides_what_is_causal() -> None:
    config = copy.deepcopy(SPECULATORS)
    config["transformer_layer_config"] |= SPECULATORS_SLIDING | {"is_causal": False}
    assert "is_causal=False contradicts" in refusal(config)


@pytest.mark.parametrize(
    ("change", "types"),
    [
        ({"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 3}, "FFFSS"),
        ({"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0}, "SSSSS"),
        ({"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 28}, "FFFFF"),
        ({"use_sliding_window": False, "sliding_window": 9, "max_window_layers": 0}, "FFFFF"),
        ({"use_sliding_window": None, "sliding_window": 9, "max_window_layers": 0}, None),
        ({"use_sliding_window": True, "sliding_window": None}, None),
    ],
)
def test_layer_types_follow_transformers_rule(change: Config, types: str | None) -> None:
    from transformers.models.qwen3 import Qwen3Config

    config = {**Z_LAB, "layer_types": None, "is_causal": False, **change}
    if types is None:
        assert "sliding_window" in refusal(config)
        return
    names = {"F": "full_attention", "S": "sliding_attention"}
    read = parse_config(config).layer_types
    assert read == tuple(names[letter] for letter in types)
    given = {name: change[name] for name in ("use_sliding_window", "sliding_window", "max_window_layers")}
    assert list(read) == Qwen3Config(num_hidden_layers=5, **given).layer_types


def test_windows_and_layer_types_must_agree() -> None:
    config = changed(Z_LAB_NESTED, "use_sliding_window", False)
    assert "use_sliding_window=False" in refusal(config)
    config = changed(Z_LAB_NESTED, "dflash_config.swa_window_size", 100)
    assert "'sliding_window': 2048, 'swa_window_size': 100" in refusal(config)


def block_hidden(draft: DFlashDraft, features: Tensor, embeddings: Tensor) -> Tensor:
    """Our hidden states (K, D) of the block that follows the features."""
    length, size = features.shape[0], embeddings.shape[0]
    context = GradContext(draft.read_context(features[None], torch.arange(length)[None]))
    masks = draft.block_masks(torch.tensor([[length]]), context_slots=length, block_size=size)
    with torch.no_grad():
        return draft(embeddings[None], torch.arange(length, length + size)[None], context, masks)[0]


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    """Features of 20 positions and embeddings of a block of 4."""
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(20, 96, generator=generator, dtype=torch.float64),
        torch.randn(4, 32, generator=generator, dtype=torch.float64),
    )


def written(folder: Path, change: Callable[[Config], None]) -> Path:
    """A random tiny draft's folder, its config edited."""
    torch.manual_seed(5)
    draft = DFlashDraft(tiny_draft_config())
    draft.reset_parameters(0.3)
    save_draft(draft, folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


SLIDING_WAYS: dict[str, tuple[Config, list[int | None]]] = {
    "full": ({}, [None, None]),
    "layer_types": (
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6, "is_causal": False},
        [6, None],
    ),
    "use_swa": ({"dflash_config.use_swa": True, "dflash_config.swa_window_size": 6}, [6, 6]),
    "use_swa without layer_types": ({"layer_types": None, "dflash_config.use_swa": True, "sliding_window": 6}, [6, 6]),
    "max_window_layers": (
        {"layer_types": None, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
        [None, 6],
    ),
    "swa off": ({"dflash_config.use_swa": False, "dflash_config.swa_window_size": 6}, [None, None]),
}


@pytest.mark.parametrize("way", SLIDING_WAYS)
def test_windows_are_those_of_a_plain_forward(tmp_path: Path, inputs: tuple[Tensor, Tensor], way: str) -> None:
    changes, windows = SLIDING_WAYS[way]

    def change(config: Config) -> None:
        for at, value in changes.items():
            config |= changed(config, at, value)

    draft = load_draft(written(tmp_path, change), dtype=torch.float64)
    expected = plain_hidden(draft.state_dict(), *inputs, windows=windows)
    torch.testing.assert_close(block_hidden(draft, *inputs), expected, atol=1e-5, rtol=0)
    others = [None if window else 6 for window in windows]
    assert not torch.allclose(block_hidden(draft, *inputs), plain_hidden(draft.state_dict(), *inputs, windows=others))


BOTH = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6, "is_causal": None}
TWO_ROPES = {
    name: {"rope_theta": theta, "rope_type": "default"}
    for name, theta in (("sliding_attention", 100.0), ("full_attention", 10000.0))
}
CAUSAL_WAYS: dict[str, tuple[Config, dict[str, Any]]] = {
    "sliding, unsaid": (BOTH, {"windows": [6, None], "causal": [True, False]}),
    "sliding, said": (BOTH | {"is_causal": True}, {"windows": [6, None], "causal": [True, True]}),
    "full, said": ({"is_causal": None, "dflash_config.causal": True}, {"windows": [None] * 2, "causal": [True] * 2}),
    "use_swa, said": (
        {"is_causal": None, "dflash_config.causal": True, "dflash_config.use_swa": True, "sliding_window": 6},
        {"windows": [6, 6], "causal": [True, True]},
    ),
    "from the anchor": (
        BOTH | {"dflash_config.window_from_anchor": True},
        {"windows": [6, None], "causal": [True, False], "anchored": True},
    ),
    "two ropes": (
        BOTH | {"is_causal": False, "rope_theta": None, "rope_parameters": TWO_ROPES},
        {"windows": [6, None], "thetas": [100.0, 10000.0]},
    ),
}


@pytest.mark.parametrize("way", CAUSAL_WAYS)
def test_causal_blocks_are_those_of_a_plain_forward(tmp_path: Path, inputs: tuple[Tensor, Tensor], way: str) -> None:
    changes, rule = CAUSAL_WAYS[way]

    def change(config: Config) -> None:
        for at, value in changes.items():
            config |= changed(config, at, value)

    draft = load_draft(written(tmp_path / "a", change), dtype=torch.float64)
    expected = plain_hidden(draft.state_dict(), *inputs, **rule)
    torch.testing.assert_close(block_hidden(draft, *inputs), expected, atol=1e-5, rtol=0)
    for left_out in rule.keys() - {"windows"}:
        other = {name: value for name, value in rule.items() if name != left_out}
        assert not torch.allclose(expected, plain_hidden(draft.state_dict(), *inputs, **other), atol=1e-3)
    again = load_draft(save_draft(draft, tmp_path / "b"), dtype=torch.float64)
    assert again.config == draft.config


@pytest.mark.parametrize("non_causal", [None, False, True])
def test_sliding_speculators_are_read_as_they_were_trained(non_causal: bool | None) -> None:
    """Their window is counted from the anchor, and their blocks are causal unless said."""
    config = {**copy.deepcopy(SPECULATORS), "sliding_window_non_causal": non_causal}
    config["transformer_layer_config"] |= SPECULATORS_SLIDING
    read = parse_config(config)
    assert (read.sliding_window, read.window_from_anchor) == (9, True)
    assert read.causal_types == (() if non_causal else ("sliding_attention",))


def test_speculators_turn_all_layers_by_the_sliding_rope() -> None:
    config = copy.deepcopy(SPECULATORS)
    config["transformer_layer_config"] |= SPECULATORS_SLIDING | {"rope_parameters": TWO_ROPES}
    read = parse_config(config)
    assert read.rope_parameters["rope_theta"] == 100.0
    assert read.sliding_rope_parameters is None


@pytest.mark.parametrize("name", draft_keys.ACTIVATIONS)
def test_activations_are_those_of_a_plain_forward(tmp_path: Path, inputs: tuple[Tensor, Tensor], name: str) -> None:
    gates: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu": torch.nn.functional.gelu,
        "gelu_new": partial(torch.nn.functional.gelu, approximate="tanh"),
        "gelu_pytorch_tanh": partial(torch.nn.functional.gelu, approximate="tanh"),
        "relu": torch.relu,
    }
    draft = load_draft(written(tmp_path, lambda config: config.update(hidden_act=name)), dtype=torch.float64)
    gate = gates.get(name, torch.nn.functional.silu)
    expected = plain_hidden(draft.state_dict(), *inputs, windows=[None, None], activation=gate)
    torch.testing.assert_close(block_hidden(draft, *inputs), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer_type", ["full_attention", "sliding_attention"])
def test_transformers_own_folder_gives_its_forward(
    tmp_path: Path, inputs: tuple[Tensor, Tensor], layer_type: str
) -> None:
    """Its window counts the distance to the farthest position, one more than z-lab's."""
    native = pytest.importorskip(
        "transformers.models.muse_glimmer_assistant", reason="transformers has no DFlash draft"
    )
    config = native.MuseGlimmerAssistantConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=6,
        layer_types=[layer_type] * 2,
        block_size=4,
        mask_token_id=256,
        target_layer_ids=[0, 2, 5],
        attn_implementation="sdpa",
    )
    torch.manual_seed(5)
    model = native.MuseGlimmerAssistantModel(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    model.save_pretrained(tmp_path)
    draft = load_draft(tmp_path, dtype=torch.float64)
    assert draft.config.tap_ids == (1, 3, 6)
    features, embeddings = inputs
    from transformers.cache_utils import DFlashCache  # pyright: ignore[reportAttributeAccessIssue]

    cache = DFlashCache(config=config)
    cache.set_previous_accepted_tokens(20)
    with torch.no_grad():
        expected = model(
            noise_embeds=embeddings[None],
            context_hidden_states=features[None],
            position_ids=torch.arange(24)[None],
            attention_mask=torch.ones(1, 24, dtype=torch.long),
            past_key_values=cache,
        ).last_hidden_state[0]
    torch.testing.assert_close(block_hidden(draft, features, embeddings), expected, atol=1e-5, rtol=0)


def test_a_saved_sliding_draft_slides_in_transformers_config(tmp_path: Path) -> None:
    """Without use_sliding_window, transformers' Qwen3 config drops the window, and the published class sees all."""
    from transformers.models.qwen3 import Qwen3Config

    draft = DFlashDraft(tiny_draft_config(layer_types=("sliding_attention", "full_attention"), sliding_window=9))
    save_draft(draft, tmp_path)
    config = Qwen3Config.from_pretrained(tmp_path)
    assert config.sliding_window == 9
    assert config.layer_types == ["sliding_attention", "full_attention"]


def test_the_refusal_comes_before_the_weights_are_read(tmp_path: Path) -> None:
    folder = written(tmp_path, lambda config: config.update(hidden_act="tanh"))
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=re.escape(f"draft {folder}: config.json says hidden_act='tanh'")):
        load_draft(folder)


def test_the_page_on_drafts_lists_what_is_known() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "drafts.md").read_text(encoding="utf-8")
    names = {
        *(draft_keys.SHAPE_KEYS | draft_keys.DRAFT_KEYS | draft_keys.SPECULATORS_KEYS),
        *draft_keys.NEUTRAL_KEYS,
        *draft_keys.NEUTRAL_ROPE_KEYS,
        *draft_keys.ONLY_VALUES,
        *draft_keys.OTHER_KINDS,
        *draft_keys.ROPE_TYPES,
        *" ".join(NEUTRAL_FILES.values()).split(),
        *NEUTRAL_FIELDS,
    }
    assert not [name for name in names if f"`{name}`" not in page]
