"""The trial at load: what it finds, and that it leaves a target as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dftt.models import agreement
from dftt.models.agreement import REACH, difference_of, settle_attention
from dftt.models.attention import GROUPED_ATTENTION
from dftt.models.target import Target
from tests.fakes import byte_tokenizer
from tests.families import tiny_model


def loaded(folder: Path, family: str, **changes: Any) -> Target:
    tiny_model(family, **changes).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return Target.load(folder)


def test_a_proven_family_is_loaded_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "difference_of", lambda _: pytest.fail("tried"))
    loaded(tmp_path, "llama")


def test_the_default_device_does_not_change_the_trial(tmp_path: Path) -> None:
    """Lightning builds a model while its card is the default device."""
    target = loaded(tmp_path, "llama")
    expected = difference_of(target)
    with torch.device("meta"):
        assert difference_of(target) == expected


def test_sinks_are_left_to_the_models_own_attention(tmp_path: Path) -> None:
    target = loaded(tmp_path, "gpt_oss")
    assert target.config._attn_implementation == "eager"
    assert not target.is_grouped
    assert not target.reads_spans


def test_attention_serves_a_window_without_layer_types(tmp_path: Path) -> None:
    target = loaded(tmp_path, "mistral", sliding_window=24)
    assert target.config._attn_implementation == GROUPED_ATTENTION
    assert target.layer_types == ()


def test_windows_are_shortened_for_the_trial_only(tmp_path: Path) -> None:
    target = loaded(tmp_path, "mistral", sliding_window=100)
    seen = []
    read = target.model.get_decoder().forward
    target.model.get_decoder().forward = lambda **inputs: seen.append(target.config.sliding_window) or read(**inputs)
    settle_attention(target)
    assert set(seen) == {REACH}
    assert target.config.sliding_window == 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wrong", ["no window", "another window", "no sinks"])
def test_a_wrong_reading_is_refused_in_every_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, dtype: torch.dtype
) -> None:
    target = loaded(tmp_path, "gpt_oss" if wrong == "no sinks" else "mistral")
    target.model.to(dtype)
    assert difference_of(target) < (1e-3 if dtype == torch.float32 else 0.1)
    band = {"no window": None, "another window": 8}
    if wrong in band:
        monkeypatch.setattr("dftt.models.target.band_of", lambda _: band[wrong])
    else:
        own = agreement._by_itself
        monkeypatch.setattr(agreement, "_by_itself", lambda *args: without_sinks(own, *args))
    with pytest.raises(ValueError, match=r"with sliding-window attention\) is not supported: .* differs by"):
        settle_attention(target)


def without_sinks(own: Any, target: Target, text: torch.Tensor) -> torch.Tensor:
    """The model's logits as if it had no attention sinks."""
    layers = [layer.self_attn for layer in target.model.model.layers]
    before = [layer.sinks.clone() for layer in layers]
    for layer in layers:
        layer.sinks.fill_(-1e4)
    logits = own(target, text)
    for layer, sinks in zip(layers, before, strict=True):
        layer.sinks.copy_(sinks)
    return logits


@pytest.mark.parametrize("setting", ["local_window", "chunk_length", "index_heads"])
def test_a_setting_that_may_hide_tokens_is_refused_unless_known(tmp_path: Path, setting: str) -> None:
    model = tiny_model("mistral")
    setattr(model.config, setting, 40)
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"says {setting}=40 in its config, which is not known here"):
        Target.load(tmp_path)


def test_what_breaks_on_our_masks_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = loaded(tmp_path, "mistral")
    monkeypatch.setattr(Target, "_masks", lambda *_: "no mask\n at all")
    with pytest.raises(ValueError, match="would not give the model's own tokens") as refusal:
        settle_attention(target)
    assert "\n" not in str(refusal.value)
