"""The layouts that others read a draft in: config.json, tensor names, and what loads the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dftt.models.checkpoint import NATIVE_NAMES
from dftt.models.draft_keys import NATIVE, SHAPE_KEYS

_LAYER_KEYS = SHAPE_KEYS | {"model_type", "hidden_act"}  # speculators' section of the shape
_NATIVE_KEYS = {  # what transformers' class reads, and two facts that dftt checks a target against
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "hidden_act", "rms_norm_eps", "rope_parameters", "max_position_embeddings", "layer_types", "dtype"),
    *("block_size", "mask_token_id", "target_layer_ids", "vocab_size", "num_target_layers"),
}


@dataclass(frozen=True)
class Layout:
    """How others want a draft.

    Args:
        config: Their config.json, made of z-lab's and of the target's name, which may be empty.
        loader: Which class or server loads the folder, in words.
        needs: Fields of the draft's config that may not be unknown.
        names: Beginnings of tensor names in dftt, and what they are there.
        keeps_vocabulary: Whether there is a place for an embedding and a head of the draft's own.
    """

    config: Callable[[dict[str, Any], str], dict[str, Any]]
    loader: str
    needs: tuple[str, ...] = ("vocab_size",)
    names: Mapping[str, str] = field(default_factory=dict)
    keeps_vocabulary: bool = False

    def name_of(self, tensor: str) -> str:
        """What a tensor is called there."""
        found = (new + tensor.removeprefix(old) for old, new in self.names.items() if tensor.startswith(old))
        return next(found, tensor)


def _speculators(written: dict[str, Any], target: str) -> dict[str, Any]:
    """Its layer ids index hidden states; what proposes and verifies stands in a section of its own."""
    own, block_size = written["dflash_config"], written["block_size"]
    proposal = {"proposal_type": "greedy", "speculative_tokens": block_size - 1, "verifier_accept_k": 1}
    return {
        "architectures": ["DFlashSpeculator"],
        "speculators_model_type": "dflash",
        "aux_hidden_state_layer_ids": [layer + 1 for layer in own["target_layer_ids"]],
        "block_size": block_size,
        "mask_token_id": own["mask_token_id"],
        "draft_vocab_size": written.get("vocab_size"),
        "num_target_layers": written.get("num_target_layers"),
        "sample_from_anchor": False,
        "sliding_window_non_causal": False,
        "tie_word_embeddings": False,
        "dtype": written["dtype"],
        "transformer_layer_config": {key: value for key, value in written.items() if key in _LAYER_KEYS},
        "speculators_config": {
            "algorithm": "dflash",
            "default_proposal_method": "greedy",
            "proposal_methods": [proposal],
            "verifier": {"name_or_path": target or None, "architectures": []},
        },
    }


def _transformers(written: dict[str, Any], _: str) -> dict[str, Any]:
    """Everything at the top; its window counts the distance to the farthest position, one less than z-lab's."""
    flat = written | written["dflash_config"]
    native = {key: value for key, value in flat.items() if key in _NATIVE_KEYS}
    native |= {"architectures": ["MuseGlimmerAssistantModel"], "model_type": NATIVE}
    native |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))  # the class would put its own target's
    window = written["sliding_window"]
    return native if window is None else native | {"sliding_window": window - 1}


LAYOUTS = {
    "zlab": Layout(
        lambda written, _: written,
        "The layout is z-lab's: the class that loads it is `DFlashDraftModel` of its package (`dflash.model`).\n"
        "This folder holds no code. For `AutoModel.from_pretrained(FOLDER, trust_remote_code=True)`, put the file\n"
        '`dflash.py` of a published draft into it, and `"auto_map": {"AutoModel": "dflash.DFlashDraftModel"}` into\n'
        "config.json; without them AutoModel makes a plain Qwen3 of it, which is no draft.",
    ),
    "speculators": Layout(
        _speculators,
        "The layout is that of the library speculators: `speculators.models.dflash.DFlashDraftModel` loads it, and\n"
        "vLLM reads it, too. Both take embedding and head from the target, which config.json names in\n"
        "`speculators_config.verifier` where `--target` did.",
        keeps_vocabulary=True,
    ),
    "transformers": Layout(
        _transformers,
        "The layout is that of transformers' own class (5.23 has it): `AutoModel.from_pretrained(FOLDER)` loads it,\n"
        'and `target.generate(..., assistant_model=draft, speculation_type="dflash")` decodes with it.',
        needs=(),
        names={ours: theirs for theirs, ours in NATIVE_NAMES.items()},
    ),
}
