"""config.json files in the shapes that drafts are published in."""

from __future__ import annotations

from typing import Any

QWEN3_8B: dict[str, Any] = {  # what the shapes below share
    "attention_bias": False,
    "attention_dropout": 0.0,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_attention_heads": 32,
    "num_hidden_layers": 5,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 151936,
}
FULL, SLIDING = ["full_attention"] * 5, ["sliding_attention"] * 5
Z_LAB = {
    **QWEN3_8B,
    "architectures": ["DFlashDraftModel"],
    "auto_map": {"AutoModel": "dflash.DFlashDraftModel"},
    "block_size": 16,
    "bos_token_id": 151643,
    "dflash_config": {"mask_token_id": 151669, "target_layer_ids": [1, 9, 17, 25, 33]},
    "dtype": "bfloat16",
    "eos_token_id": 151645,
    "layer_types": FULL,
    "max_window_layers": 5,
    "num_target_layers": 36,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "transformers_version": "4.57.3",
    "use_sliding_window": False,
}
LLAMA3_ROPE = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}


def _without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


Z_LAB_NESTED = {  # April 2026: block size nested, rotary settings in one field, no count of the target's layers
    **_without(Z_LAB, "block_size", "rope_theta", "rope_scaling", "num_target_layers", "max_window_layers"),
    "dflash_config": {"block_size": 16, "mask_token_id": 151669, "target_layer_ids": [1, 9, 17, 25, 33]},
    "is_causal": False,
    "layer_types": SLIDING,
    "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
    "sliding_window": 2048,
    "transformers_version": "5.5.3",
    "use_sliding_window": True,
}
SPECULATORS = {
    "architectures": ["DFlashSpeculator"],
    "aux_hidden_state_layer_ids": [2, 10, 18, 26, 34],
    "block_size": 16,
    "draft_vocab_size": 151936,
    "dtype": "bfloat16",
    "mask_token_id": 151669,
    "sample_from_anchor": False,
    "sliding_window_non_causal": False,
    "speculators_config": {
        "algorithm": "dflash",
        "default_proposal_method": "greedy",
        "proposal_methods": [{"proposal_type": "greedy", "speculative_tokens": 15, "verifier_accept_k": 1}],
        "verifier": {"architectures": ["Qwen3ForCausalLM"], "name_or_path": "Qwen/Qwen3-8B"},
    },
    "speculators_model_type": "dflash",
    "speculators_version": "0.6.0",
    "target_hidden_size": None,
    "tie_word_embeddings": False,
    "transformer_layer_config": {
        **QWEN3_8B,
        "architectures": ["Qwen3ForCausalLM"],
        "layer_types": FULL,
        "max_window_layers": 36,
        "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
        "sliding_window": None,
        "use_sliding_window": False,
    },
    "transformers_version": "5.17.0",
}
NATIVE = {  # as transformers writes its own class's config: no vocabulary, no count of the target's layers
    **_without(QWEN3_8B, "attention_bias", "initializer_range", "tie_word_embeddings", "use_cache", "vocab_size"),
    "architectures": ["MuseGlimmerAssistantModel"],
    "block_size": 16,
    "bos_token_id": 1,
    "layer_types": FULL,
    "mask_token_id": 151669,
    "model_type": "muse_glimmer_assistant",
    "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
    "sliding_window": 2048,
    "target_layer_ids": [1, 9, 17, 25, 33],
    "transformers_version": "5.23.0",
}
MODEL_OPT = {  # every layer slides through use_swa alone
    **_without(Z_LAB, "sliding_window"),
    "dflash_config": {**Z_LAB["dflash_config"], "causal": False, "swa_window_size": 2048, "use_swa": True},
    "sliding_window": 2048,
}
CONFIGS = {
    "z-lab": Z_LAB,
    "z-lab, nested": Z_LAB_NESTED,
    "z-lab, llama3": {**Z_LAB, "rope_scaling": LLAMA3_ROPE, "rope_theta": 500000.0, "block_size": 10},
    "z-lab, yarn": {**Z_LAB, "rope_scaling": {"factor": 4.0, "rope_type": "yarn"}},
    "z-lab, old rope": {**Z_LAB, "rope_scaling": {"factor": 4.0, "type": "linear"}},
    "z-lab, partial rotary": {**Z_LAB, "partial_rotary_factor": 0.5, "attention_bias": True},
    "SpecForge": {**_without(Z_LAB, "transformers_version"), "pad_token_id": 151643, "tie_word_embeddings": True},
    "speculators": SPECULATORS,
    "native": NATIVE,
    "ModelOpt": MODEL_OPT,
}


UNSAID = {**_without(Z_LAB_NESTED, "is_causal"), "layer_types": SLIDING[:4] + FULL[:1]}
SPECULATORS_SLIDING = {
    **SPECULATORS,
    "transformer_layer_config": {
        **SPECULATORS["transformer_layer_config"],
        "layer_types": SLIDING,
        "sliding_window": 2048,
        "use_sliding_window": True,
    },
}
MIXED = [True] * 4 + [False]
# Family: the keys that tell, its config, and how `plain_hidden` computes it (a window w stands for 2048); or no rule
# where the draft is refused.
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "z-lab, February 2026": ("`block_size` at the top", Z_LAB, {"windows": "....."}),
    "z-lab, April 2026": ("`is_causal: false`, `sliding_window`", Z_LAB_NESTED, {"windows": "wwwww"}),
    "z-lab for Qwen3.5, Qwen3.6 and Gemma 4": (
        "`layer_types`, `is_causal` not said",
        UNSAID,
        {"windows": "wwww.", "causal": MIXED},
    ),
    "z-lab with tanh gates": (
        "`hidden_act: gelu_pytorch_tanh`",
        {**Z_LAB, "hidden_act": "gelu_pytorch_tanh"},
        {"windows": ".....", "activation": "gelu_pytorch_tanh"},
    ),
    "SpecForge": ("`dflash_config`", CONFIGS["SpecForge"], {"windows": "....."}),
    "ModelOpt": ("`use_swa`, `swa_window_size`, `causal: false`", MODEL_OPT, {"windows": "wwwww"}),
    "ModelOpt, causal": (
        "`use_swa`, `causal: true`",
        {**MODEL_OPT, "dflash_config": {**MODEL_OPT["dflash_config"], "causal": True}},
        {"windows": "wwwww", "causal": [True] * 5},
    ),
    "speculators": ("`speculators_model_type`", SPECULATORS, {"windows": "....."}),
    "speculators, sliding": (
        "`sliding_window_non_causal: false`",
        SPECULATORS_SLIDING,
        {"windows": "wwwww", "causal": [True] * 5, "anchored": True},
    ),
    "speculators, sliding, not causal": (
        "`sliding_window_non_causal: true`",
        {**SPECULATORS_SLIDING, "sliding_window_non_causal": True},
        {"windows": "wwwww", "anchored": True},
    ),
    "transformers' own": ("`model_type: muse_glimmer_assistant`", NATIVE, {"windows": "....."}),
    "speculators, 32k vocabulary": ("`draft_vocab_size: 32000`", {**SPECULATORS, "draft_vocab_size": 32000}, None),
    "drafts with an input scale": ("`input_embedding_scale`", {**Z_LAB, "input_embedding_scale": 64.0}, None),
    "drafts with an output multiplier": ("`output_multiplier`", {**Z_LAB, "output_multiplier": 0.5}, None),
    "drafts with capped logits": ("`final_logit_softcapping`", {**Z_LAB, "final_logit_softcapping": 30.0}, None),
    "DFlash 2": ("`selector_rank`", {**Z_LAB, "selector_rank": 256}, None),
    "JetSpec": ("`causal_head`", {**Z_LAB, "causal_head": True}, None),
}


def tiny(config: dict[str, Any], *, window: int) -> dict[str, Any]:
    """The same config with the sizes of a tiny draft and blocks of 4."""
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 288,
        "draft_vocab_size": 288,
        "block_size": 4,
        "mask_token_id": 256,
        "sliding_window": window,
        "swa_window_size": window,
        "target_layer_ids": [0, 1, 2],
        "aux_hidden_state_layer_ids": [1, 2, 3],
        "rope_theta": 10000.0,
    }
    return {
        key: tiny(value, window=window)
        if isinstance(value, dict)
        else value
        if value is None
        else sizes.get(key, value)
        for key, value in config.items()
    }
