"""Greedy speculative decoding written out from its description, on an exported folder and a model of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.plain_draft import plain_hidden


def plain_loop(target: Any, folder: Path, prompt: tuple[int, ...], count: int) -> tuple[list[int], list[int]]:
    """At least `count` new tokens and how many each target pass gave; no cache, nothing of the package.

    The folder is one of z-lab's layout (layer ids count layers from 0) or of speculators' (they index hidden states).
    """
    config = json.loads((folder / "config.json").read_text())
    shape = config.get("transformer_layer_config", config)
    own = config.get("dflash_config", config)
    taps = config.get("aux_hidden_state_layer_ids") or [layer + 1 for layer in own["target_layer_ids"]]
    windows = [shape["sliding_window"] if kind == "sliding_attention" else None for kind in shape["layer_types"]]
    tensors = load_file(folder / "model.safetensors")
    embed, head = target.get_input_embeddings(), target.get_output_embeddings()
    ids, lengths = list(prompt), []
    with torch.no_grad():
        ids.append(int(target(torch.tensor([ids])).logits[0, -1].argmax()))
        while len(ids) < len(prompt) + count:
            states = target(torch.tensor([ids[:-1]]), output_hidden_states=True).hidden_states
            features = torch.cat([states[tap][0] for tap in taps], dim=-1)
            block = [ids[-1]] + [own["mask_token_id"]] * (config["block_size"] - 1)
            hidden = plain_hidden(tensors, features, embed(torch.tensor(block)), windows=windows)
            proposed = head(hidden[1:]).argmax(-1).tolist()
            right = target(torch.tensor([ids + proposed])).logits[0, len(ids) - 1 :].argmax(-1).tolist()
            kept = next((at for at, token in enumerate(proposed) if token != right[at]), len(proposed))
            ids += right[: kept + 1]
            lengths.append(kept + 1)
    return ids[len(prompt) :], lengths
