"""Every key that a draft's config.json may hold: read, without effect, or right at certain values only.

This is an allow-list. What is in none of the tables may change what the draft computes, so the draft is refused by the
key's name. A null says nothing and is always allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NATIVE = "muse_glimmer_assistant"  # model type of the DFlash drafts that transformers itself can run


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _by_name(rows: Iterable[tuple[Any, str]]) -> dict[str, Any]:
    """What is said of several names at once, for each name."""
    return {name: said for said, names in rows for name in names.split()}


# Read by `draft_config` and honoured.
SHAPE_KEYS = _names(
    "hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size vocab_size "
    "rms_norm_eps rope_parameters rope_scaling rope_theta max_position_embeddings layer_types sliding_window "
    "use_sliding_window max_window_layers attention_bias hidden_act draft_vocab_size target_hidden_size"
)
DRAFT_KEYS = _names(
    "block_size num_target_layers target_layer_ids mask_token_id is_causal causal use_swa swa_window_size "
    "eagle_aux_hidden_state_layer_ids window_from_anchor"
)
SPECULATORS_KEYS = _names(
    "speculators_model_type aux_hidden_state_layer_ids sample_from_anchor sliding_window_non_causal block_size "
    "mask_token_id num_target_layers is_causal"
)

# Without effect on the draft, whatever they say; and why.
NEUTRAL_KEYS: Mapping[str, str] = _by_name(
    [
        ("where the config came from", "_name_or_path"),
        ("who wrote the file", "transformers_version speculators_version"),
        ("the weights are converted to the precision asked for", "dtype torch_dtype"),
        ("which kernel computes the same attention", "attn_implementation _attn_implementation"),
        ("the published network rotates whole heads whatever it says", "partial_rotary_factor"),
        ("for drawing new weights", "initializer_range"),
        ("for training; nothing is dropped in evaluation", "attention_dropout"),
        ("the context's keys and values are always kept", "use_cache"),
        ("embedding and head are the target's; own ones are compared with them", "tie_word_embeddings"),
        ("an own embedding or head in the file is compared with the target's", "has_embed_tokens has_lm_head"),
        ("the target's is used", "bos_token_id eos_token_id pad_token_id"),
        ("the name of the token that mask_token_id gives", "mask_token"),
        ("how a server proposes, and the target's name", "speculators_config"),
        ("what else a forward returns", "output_attentions output_hidden_states return_dict"),
        ("the same product in parts", "chunk_size_feed_forward"),
        ("for classification", "id2label label2id problem_type"),
    ]
)
# The network computes what these values say; any other value is another network.
ONLY_VALUES: Mapping[str, tuple[Any, ...]] = _by_name(
    [
        (("qwen3", "llama", "dflash", "speculator_model", NATIVE), "model_type"),
        (("gqa",), "attention_mode"),
        (("dflash",), "projector_type"),
        ((1.0,), "input_embedding_scale embedding_scale embedding_multiplier output_multiplier residual_multiplier"),
        ((1.0,), "logit_scale logits_scaling attention_value_scale"),
        ((0,), "final_logit_softcapping attn_logit_softcapping"),
        ((False,), "attention_sink_bias add_swa_attention_sink_bias add_full_attention_sink_bias"),
        ((False,), "mlp_bias rope_interleave norm_before_fc norm_before_residual"),
        ((False,), "is_encoder_decoder add_cross_attention"),
        ((False, True), "is_decoder"),
        ((True,), "is_neox_style rope_is_neox_style use_qk_norm use_aux_hidden_state"),
        ((1,), "pretraining_tp"),
        (({},), "pruned_heads eagle_config quantization_config"),
    ]
)
# Keys of other kinds of drafts: off is fine, anything else is that kind.
OTHER_KINDS: Mapping[str, str] = _by_name(
    [
        ("JetSpec", "causal_head draft_shift"),
        ("DFlash 2", "conv_kernel_size conv_group_size selector_rank selector_top_k"),
        ("DSpark", "markov_rank markov_head_type"),
        ("DSpark", "enable_confidence_head confidence_head_alpha confidence_head_with_markov"),
        ("Domino", "emb_dim gru_hidden_dim pure_draft_prefix_len shift_label"),
    ]
)
# Classes that compute what the network computes, and those of their configs.
CLASSES = ("DFlashDraftModel", "DFlashSpeculator", "MuseGlimmerAssistantModel")
_CONFIG_CLASSES = ("DFlashConfig", "DFlashSpeculatorConfig", "Qwen3Config")

# Gates that transformers' MLP computes without settings or weights of their own; swish is silu by another name.
ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu")

ROPE_KEYS = _names(
    "rope_theta rope_type type factor original_max_position_embeddings attention_factor beta_fast beta_slow mscale "
    "mscale_all_dim truncate low_freq_factor high_freq_factor partial_rotary_factor"
)
NEUTRAL_ROPE_KEYS: Mapping[str, str] = _by_name(
    [("a text's tokens have one position, the same in every section", "mrope_section mrope_interleaved")]
)
# The kinds whose frequencies are those of the published network and follow no position; what each needs beside theta.
ROPE_TYPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def check_keys(raw: Mapping[str, Any], known: Iterable[str], *, section: str = "") -> None:
    """Raise ValueError, naming key and value, for the first key of a section that could change the draft unseen.

    Args:
        raw: The section of config.json.
        known: Keys of it that are read and honoured.
        section: Its name, empty for the file itself.
    """
    known = frozenset(known)
    for key, value in raw.items():
        if value is None or key in known or key in NEUTRAL_KEYS:
            continue
        said = f"{section + '.' if section else ''}{key}={value!r}"
        if key in ("architectures", "auto_map"):
            if section != "transformer_layer_config":  # there it is the class that the shape was taken from
                _check_classes(key, said, value)
        elif key in OTHER_KINDS:
            if value:
                raise ValueError(f"a {OTHER_KINDS[key]} draft ({said}) is not supported; give a DFlash draft")
        elif key not in ONLY_VALUES:
            raise ValueError(
                f"config.json has a key that is not known here and may change the draft, {said}; "
                "give a draft without it"
            )
        elif value not in ONLY_VALUES[key]:
            accepted = " or ".join(map(repr, ONLY_VALUES[key]))
            raise ValueError(f"config.json says {said}, which is not supported; accepted is {accepted}")


def check_rope_keys(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError, naming key and value, for rotary settings that this network does not follow."""
    for key, value in parameters.items():
        if value is not None and key not in ROPE_KEYS and key not in NEUTRAL_ROPE_KEYS:
            raise ValueError(
                f"the rotary settings have a key that is not known here, {key}={value!r}; "
                f"accepted are {', '.join(sorted(ROPE_KEYS))}"
            )
    kind = parameters["rope_type"]
    if kind not in tuple(ROPE_TYPES):  # also what cannot be hashed
        raise ValueError(f"rope_type={kind!r} is not supported; accepted are {', '.join(ROPE_TYPES)}")
    for key in ROPE_TYPES[kind]:
        if not isinstance(parameters.get(key), int | float):
            raise ValueError(f"rope_type={kind!r} needs a number as {key}, got {parameters.get(key)!r}")
    part = parameters.get("partial_rotary_factor", 1.0)
    if kind != "default" and part != 1.0:
        raise ValueError(f"partial_rotary_factor={part!r} with rope_type={kind!r} is not supported; accepted is 1.0")


def _check_classes(key: str, said: str, value: Any) -> None:
    if not isinstance(value, Mapping | list):
        raise ValueError(f"config.json says {said}; it must hold names of classes")
    accepted = CLASSES if key == "architectures" else CLASSES + _CONFIG_CLASSES
    for name in value.values() if isinstance(value, Mapping) else value:
        if str(name).rpartition(".")[2] not in accepted:
            raise ValueError(
                f"config.json says {said}, a class that is not known here; accepted are {', '.join(accepted)}"
            )
