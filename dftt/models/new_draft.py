"""A draft for a target that has none yet, to be trained over a corpus."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.models.draft import DFlashDraft, DraftConfig, default_tap_ids
from dftt.models.target import Target


def make_draft(
    target: Target, layers: int, block_size: int, taps: int | Sequence[int], mask_token_id: int
) -> DFlashDraft:
    """A draft with random weights, shaped like the target's own layers.

    Raises:
        ValueError: If the mask token is not given, outside the embedding, or an end-of-sequence or padding token.
    """
    config = target.config
    forbidden = {*target.eos_token_ids, getattr(config, "pad_token_id", None)}
    if not 0 <= mask_token_id < target.vocab_size or mask_token_id in forbidden:
        raise ValueError(
            f"model.new_mask_token_id must be a reserved token below {target.vocab_size}, "
            f"neither padding nor end-of-sequence, got {mask_token_id}"
        )
    draft = DFlashDraft(
        DraftConfig(
            hidden_size=config.hidden_size,
            num_layers=layers,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            vocab_size=target.vocab_size,
            num_target_layers=target.num_layers,
            tap_ids=default_tap_ids(target.num_layers, taps) if isinstance(taps, int) else tuple(taps),
            block_size=block_size,
            mask_token_id=mask_token_id,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters=dict(config.rope_parameters),
            max_position_embeddings=config.max_position_embeddings,
        )
    )
    draft.reset_parameters()
    return draft
