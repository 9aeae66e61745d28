"""Every key that a draft's config.json may hold: read, without effect, or right at one value only.

This is an allow-list. What is in none of the tables may change what the draft computes, so the draft is refused by the
key's name. A null says nothing and is always allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NATIVE = "muse_glimmer_assistant"  # model type of the DFlash drafts that transformers itself can run

# Read by `draft_config` and honoured.
SHAPE_KEYS = frozenset(
    {
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "vocab_size",
        "rms_norm_eps",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "max_position_embeddings",
        "layer_types",
        "sliding_window",
        "use_sliding_window",
        "max_window_layers",
        "attention_bias",
        "draft_vocab_size",
        "target_hidden_size",
    }
)
DRAFT_KEYS = frozenset(
    {
        "block_size",
        "num_target_layers",
        "target_layer_ids",
        "mask_token_id",
        "is_causal",
        "causal",
        "use_swa",
        "swa_window_size",
        "eagle_aux_hidden_state_layer_ids",
    }
)
SPECULATORS_KEYS = frozenset(
    {
        "speculators_model_type",
        "aux_hidden_state_layer_ids",
        "sample_from_anchor",
        "sliding_window_non_causal",
        "block_size",
        "mask_token_id",
        "num_target_layers",
        "is_causal",
    }
)

# Without effect on the draft, whatever they say; and why.
NEUTRAL_KEYS: Mapping[str, str] = {
    "_name_or_path": "where the config came from",
    "transformers_version": "who wrote the file",
    "speculators_version": "who wrote the file",
    "dtype": "the weights are converted to the precision asked for",
    "torch_dtype": "the weights are converted to the precision asked for",
    "attn_implementation": "which kernel computes the same attention",
    "_attn_implementation": "which kernel computes the same attention",
    "partial_rotary_factor": "the published network rotates whole heads whatever it says",
    "initializer_range": "for drawing new weights",
    "attention_dropout": "for training; nothing is dropped in evaluation",
    "use_cache": "the context's keys and values are always kept",
    "tie_word_embeddings": "embedding and head are the target's; own ones are compared with them",
    "has_embed_tokens": "an own embedding in the file is compared with the target's",
    "has_lm_head": "an own head in the file is compared with the target's",
    "bos_token_id": "the target's is used",
    "eos_token_id": "the target's is used",
    "pad_token_id": "the target's is used",
    "mask_token": "the name of the token that mask_token_id gives",
    "speculators_config": "how a server proposes, and the target's name",
    "output_attentions": "what else a forward returns",
    "output_hidden_states": "what else a forward returns",
    "return_dict": "what else a forward returns",
    "chunk_size_feed_forward": "the same product in parts",
    "id2label": "for classification",
    "label2id": "for classification",
    "problem_type": "for classification",
}
NEUTRAL_ROPE_KEYS: Mapping[str, str] = {
    "mrope_section": "a text's tokens have one position, the same in every section",
    "mrope_interleaved": "a text's tokens have one position, the same in every section",
}
ROPE_KEYS = frozenset(
    {
        "rope_theta",
        "rope_type",
        "type",
        "factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "low_freq_factor",
        "high_freq_factor",
        "partial_rotary_factor",
    }
)
# The frequencies of other kinds follow the longest position of a pass, or are not those of the published network.
# What each kind needs beside rope_theta.
ROPE_TYPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}

# This network computes what these values say; any other value is another network.
ONLY_VALUES: Mapping[str, tuple[Any, ...]] = {
    "model_type": ("qwen3", "llama", "dflash", "speculator_model", NATIVE),
    "hidden_act": ("silu", "swish"),
    "mlp_bias": (False,),
    "input_embedding_scale": (1.0,),
    "embedding_scale": (1.0,),
    "embedding_multiplier": (1.0,),
    "output_multiplier": (1.0,),
    "residual_multiplier": (1.0,),
    "logit_scale": (1.0,),
    "logits_scaling": (1.0,),
    "final_logit_softcapping": (0,),
    "attn_logit_softcapping": (0,),
    "attention_value_scale": (1.0,),
    "attention_sink_bias": (False,),
    "add_swa_attention_sink_bias": (False,),
    "add_full_attention_sink_bias": (False,),
    "attention_mode": ("gqa",),
    "is_neox_style": (True,),
    "rope_is_neox_style": (True,),
    "rope_interleave": (False,),
    "use_qk_norm": (True,),
    "use_aux_hidden_state": (True,),
    "norm_before_fc": (False,),
    "norm_before_residual": (False,),
    "projector_type": ("dflash",),
    "pretraining_tp": (1,),
    "is_encoder_decoder": (False,),
    "is_decoder": (False, True),
    "add_cross_attention": (False,),
    "pruned_heads": ({},),
    "eagle_config": ({},),
    "quantization_config": ({},),
}

# Keys of other kinds of drafts: off is fine, anything else is that kind.
OTHER_KINDS: Mapping[str, str] = {
    "causal_head": "JetSpec",
    "draft_shift": "JetSpec",
    "conv_kernel_size": "DFlash 2",
    "conv_group_size": "DFlash 2",
    "selector_rank": "DFlash 2",
    "selector_top_k": "DFlash 2",
    "markov_rank": "DSpark",
    "markov_head_type": "DSpark",
    "enable_confidence_head": "DSpark",
    "confidence_head_alpha": "DSpark",
    "confidence_head_with_markov": "DSpark",
    "emb_dim": "Domino",
    "gru_hidden_dim": "Domino",
    "pure_draft_prefix_len": "Domino",
    "shift_label": "Domino",
}

# Classes that compute what this network computes.
CLASSES = ("DFlashDraftModel", "DFlashSpeculator", "MuseGlimmerAssistantModel")
_CONFIG_CLASSES = ("DFlashConfig", "DFlashSpeculatorConfig", "Qwen3Config")


def check_keys(raw: Mapping[str, Any], known: Iterable[str], *, section: str = "", source: str) -> None:
    """Raise ValueError, naming key and value, for the first key of a section that could change the draft unseen.

    Args:
        raw: The section of config.json.
        known: Keys of it that are read and honoured.
        section: Its name, empty for the file itself.
        source: Which draft it is.
    """
    known = frozenset(known)
    for key, value in raw.items():
        if value is None or key in known or key in NEUTRAL_KEYS:
            continue
        said = f"{section + '.' if section else ''}{key}={value!r}"
        if key in ("architectures", "auto_map"):
            if section != "transformer_layer_config":  # there it is the class that the shape was taken from
                _check_classes(key, said, value, source)
        elif key in OTHER_KINDS:
            if value:
                raise ValueError(f"{source}: a {OTHER_KINDS[key]} draft ({said}) is not supported; give a DFlash draft")
        elif key not in ONLY_VALUES:
            raise ValueError(
                f"{source}: config.json has a key that is not known here and may change the draft, {said}; "
                "give a draft without it"
            )
        elif value not in ONLY_VALUES[key]:
            accepted = " or ".join(repr(each) for each in ONLY_VALUES[key])
            raise ValueError(f"{source}: config.json says {said}, which is not supported; accepted is {accepted}")


def check_rope_keys(parameters: Mapping[str, Any], source: str) -> None:
    """Raise ValueError, naming key and value, for rotary settings that this network does not follow."""
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            raise ValueError(
                f"{source}: rotary settings per layer type ({key}={dict(value)!r}) are not supported; "
                "give a draft with one set for all layers"
            )
        if value is not None and key not in ROPE_KEYS and key not in NEUTRAL_ROPE_KEYS:
            raise ValueError(
                f"{source}: the rotary settings have a key that is not known here, {key}={value!r}; "
                f"accepted are {', '.join(sorted(ROPE_KEYS))}"
            )
    kind = parameters["rope_type"]
    if kind not in ROPE_TYPES:
        raise ValueError(f"{source}: rope_type={kind!r} is not supported; accepted are {', '.join(ROPE_TYPES)}")
    for key in ROPE_TYPES[kind]:
        if not isinstance(parameters.get(key), int | float):
            raise ValueError(f"{source}: rope_type={kind!r} needs a number as {key}, got {parameters.get(key)!r}")
    if kind != "default" and parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(
            f"{source}: partial_rotary_factor={parameters['partial_rotary_factor']!r} with rope_type={kind!r} is not "
            "supported; accepted is 1.0"
        )


def _check_classes(key: str, said: str, value: Any, source: str) -> None:
    if not isinstance(value, Mapping | list):
        raise ValueError(f"{source}: config.json says {said}; it must hold names of classes")
    names = value.values() if isinstance(value, Mapping) else value
    accepted = CLASSES if key == "architectures" else CLASSES + _CONFIG_CLASSES
    for name in names:
        if str(name).rpartition(".")[2] not in accepted:
            raise ValueError(
                f"{source}: config.json says {said}, a class that is not known here; accepted are {', '.join(accepted)}"
            )
