"""Every causal family of transformers as a tiny random target, and what becomes of it here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from dftt.decoding.generate import generate
from dftt.models.checkpoint import save_draft
from dftt.models.draft import DFlashDraft, DraftConfig
from dftt.models.pair import Pair, load_pair
from dftt.types import DecodingSpec
from tests.fakes import MASK_ID, VOCAB, byte_tokenizer, random_prompt

NEW = 20  # tokens
MAX_WEIGHTS = 15_000_000  # a family that stays larger is not built
PROMPT = random_prompt(45, seed=5)  # longer than every window below
# What is made small where a config has a setting of that name; the rest stays as the family has it.
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16,
    "intermediate_size_mlp": 48,
    "dense_intermediate_size": 48,
    "expert_ffn_hidden_size": 16,
    "ffn_hidden_size": 48,
    "vocab_size_per_layer_input": VOCAB,
    "hidden_size_per_layer_input": 8,
    "num_hidden_layers": 4,
    "decoder_layers": 4,
    "num_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_global_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 16,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "first_k_dense_replace": 1,
    "num_kv_shared_layers": 2,
    "sliding_window": 16,
    "attention_chunk_size": 16,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "init_std": 0.2,
    "eos_token_id": 257,
    "bos_token_id": 1,
    "pad_token_id": 0,
    "tie_word_embeddings": False,  # a random model with tied ones repeats one token
    "is_decoder": True,
    "rotary_dim": 8,
    "n_shared_experts": 1,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "mamba_d_state": 8,
    "state_size": 8,
    "num_heads": 8,
    "n_mamba_heads": 2,
}
# Settings without which a family cannot be built small, or that make it what it is known for.
_ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"] * 2}
_CONVOLUTIONS = {"layer_types": ["conv", "full_attention"] * 2}
CHANGES: dict[str, dict[str, Any]] = {
    "dbrx": {"attn_config": {"kv_n_heads": 2}, "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4}},
    "dots3_note": {"text_config": {"num_key_value_heads": 4}},
    "dots3_note_text": {"num_key_value_heads": 4},
    "gemma4": {"text_config": _ALTERNATING},
    "gemma4_text": _ALTERNATING,
    "gemma4_unified": {"text_config": _ALTERNATING},
    "gemma4_unified_text": _ALTERNATING,
    "gemma4_assistant": {"text_config": _ALTERNATING | {"hidden_size_per_layer_input": 0}},
    "gemma4_unified_assistant": {"text_config": _ALTERNATING},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "lfm2": _CONVOLUTIONS,
    "lfm2_moe": _CONVOLUTIONS,
    "xlnet": {"d_head": 8},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}


@dataclass(frozen=True)
class Outcome:
    """What became of a family: built or not, and equal, refused or wrong, with a sentence."""

    kind: Literal["equal", "refused", "not built", "WRONG"]
    why: str = ""


def tiny_config(family: str, **changes: Any) -> Any:
    """The family's config with everything small that it names, in its parts too; errors as its class raises them."""
    settings = _sizes(CONFIG_MAPPING[family])
    for setting, value in {**CHANGES.get(family, {}), **changes}.items():
        settings[setting] = {**settings.get(setting, {}), **value} if isinstance(value, dict) else value
    return CONFIG_MAPPING[family](**settings)


def _sizes(made: type[PreTrainedConfig]) -> dict[str, Any]:
    default = made()
    named = default.to_dict().keys() | made.attribute_map.keys()
    sizes = {setting: value for setting, value in SIZES.items() if setting in named and _can_be_set(made, setting)}
    if "qk_rope_head_dim" in named:
        sizes.pop("head_dim", None)  # follows from the parts
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    for part, part_class in cast(dict[str, Any], made.sub_configs).items():
        given = type(getattr(default, part, None) or part_class)
        if isinstance(given, type) and issubclass(given, PreTrainedConfig) and given is not PreTrainedConfig:
            sizes[part] = _sizes(given)
    return sizes


def _can_be_set(made: type[PreTrainedConfig], setting: str) -> bool:
    attribute = getattr(made, setting, None)
    return not isinstance(attribute, property) or attribute.fset is not None


def tiny_model(family: str, **changes: Any) -> PreTrainedModel:
    """A random model of a tiny config."""
    torch.manual_seed(7)
    return AutoModelForCausalLM.from_config(tiny_config(family, **changes), dtype=torch.float32).eval()


def outcome_of(family: str, folder: Path, *, device: str = "cpu", **changes: Any) -> Outcome:
    """Try a family: its greedy tokens in two modes and its prefill against transformers, or the refusal."""
    try:
        with torch.device("meta"):
            size = sum(weight.numel() for weight in tiny_model(family, **changes).parameters())
        if size > MAX_WEIGHTS:
            return Outcome("not built", f"{size:,} weights by the sizes that other families name")
        model = tiny_model(family, **changes)
        model.save_pretrained(folder)
    except Exception as error:  # whatever a family's own code raises
        return Outcome("not built", _in_short(error))
    byte_tokenizer().save_pretrained(folder)
    try:
        pair = pair_of(folder, model, device)
    except ValueError as error:
        return Outcome("refused", str(error).replace(str(folder), family))
    try:
        wanted = greedy(model)
    except Exception as error:
        return Outcome("not built", f"transformers' own generate fails ({_in_short(error)})")
    return compared(pair, model, wanted)


def pair_of(folder: Path, model: Any, device: str = "cpu") -> Pair:
    """The target of a folder with a random draft for it."""
    config = model.config.get_text_config()
    draft = DFlashDraft(
        DraftConfig(
            hidden_size=config.hidden_size,
            num_layers=1,
            num_heads=4,
            num_kv_heads=2,
            head_dim=8,
            intermediate_size=32,
            vocab_size=model.get_input_embeddings().weight.shape[0],
            num_target_layers=config.num_hidden_layers,
            tap_ids=(1, config.num_hidden_layers - 1),
            block_size=4,
            mask_token_id=MASK_ID,
            max_position_embeddings=512,
        )
    )
    draft.reset_parameters(std=0.2)
    return load_pair(folder, save_draft(draft, folder / "draft"), device=device)


def greedy(model: Any, new: int = NEW, prompt: Any = PROMPT) -> tuple[int, ...]:
    """New tokens of transformers' own greedy generation."""
    ids = torch.tensor([prompt.input_ids])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, eos_token_id=None, pad_token_id=0
    )
    return tuple(out[0, len(prompt) :].tolist())


def compared(pair: Pair, model: Any, wanted: tuple[int, ...]) -> Outcome:
    """Tokens of modes target and speculative, and logits of the prefill, against transformers."""
    spec = DecodingSpec(max_new_tokens=NEW, ignore_eos=True)
    for mode in ("target", "speculative"):
        tokens = generate(pair, PROMPT, replace(spec, mode=mode)).token_ids
        if tokens != wanted:
            return Outcome("WRONG", f"mode {mode} gives other tokens: {tokens[:5]} for {wanted[:5]}")
    # A longer row and a shorter one: masks and positions differ from row to row.
    together = generate(pair, [random_prompt(20, seed=8), PROMPT], spec)[1].token_ids
    if together != wanted:
        return Outcome("WRONG", "other tokens beside another row")
    with torch.no_grad():
        logits = pair.target.head(pair.target.prefill(PROMPT.input_ids, tap_ids=()).hidden).cpu()
        expected = model(torch.tensor([PROMPT.input_ids]), use_cache=False).logits[0]
    difference = float((logits - expected).abs().max() / expected.std())
    if difference > 1e-3:
        return Outcome("WRONG", f"logits of the prefill differ by {difference:.2g}")
    return Outcome("equal", "" if pair.target.is_grouped else "by the model's own attention")


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
