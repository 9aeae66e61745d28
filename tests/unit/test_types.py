import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from dftt.models.lora import Adapter
from dftt.types import DecodingSpec, Generation, Prompt, Record, TTTSpec


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", -1, "ttt.steps must be >= 0, got -1"),
        ("warmup", -1, "ttt.warmup must be >= 0, got -1"),
        ("anchors", 0, "ttt.anchors must be >= 1, got 0"),
        ("window", -5, "ttt.window must be >= 0, got -5"),
        ("patience", -1, "ttt.patience must be >= 0, got -1"),
        ("lr", 0.0, "ttt.lr must be a positive number, got 0.0"),
        ("lr", math.nan, "ttt.lr must be a positive number, got nan"),
        ("lr", math.inf, "ttt.lr must be a positive number, got inf"),
        ("max_grad_norm", 0.0, "ttt.max_grad_norm must be a positive number, got 0.0"),
        ("decay", 1.5, "ttt.decay must be between 0 and 1, got 1.5"),
        ("decay", math.nan, "ttt.decay must be between 0 and 1, got nan"),
        ("loss", "mse", "ttt.loss: unknown 'mse'; choose from ce, kl, mixed"),
        ("rank", 0, "ttt.rank must be >= 1, got 0"),
        ("lora_alpha", 0.0, "ttt.lora_alpha must be a positive number, got 0.0"),
        ("lora_alpha", math.nan, "ttt.lora_alpha must be a positive number, got nan"),
        ("modules", ("fc", "lm_head"), "ttt.modules: unknown 'lm_head'; choose from fc, q_proj"),
        ("modules", (), "ttt.modules is empty"),
        ("steps", 1.5, "ttt.steps must be a whole number, got 1.5"),
        ("steps", math.nan, "ttt.steps must be a whole number, got nan"),
        ("anchors", math.inf, "ttt.anchors must be a whole number, got inf"),
        ("rank", 2.0, "ttt.rank must be a whole number, got 2.0"),
        ("warmup", True, "ttt.warmup must be a whole number, got True"),
        ("lr", "1e-3", "ttt.lr must be a number, got '1e-3'"),
        ("seed", -1, "ttt.seed must be >= 0, got -1"),
        ("seed", 2**31, "ttt.seed must be <= 2147483647, got 2147483648"),
        ("held_out", 1, "ttt.held_out must be >= 2, got 1"),
        ("held_out", 0.1, "ttt.held_out must be a whole number, got 0.1"),
    ],
)
def test_a_bad_adaptation_setting_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TTTSpec(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", "fast", "decoding.mode: unknown 'fast'; choose from target, speculative, guided"),
        ("max_new_tokens", 0, "decoding.max_new_tokens must be >= 1, got 0"),
        ("temperature", -1.0, "decoding.temperature must be finite and >= 0, got -1.0"),
        ("temperature", math.nan, "decoding.temperature must be finite and >= 0, got nan"),
        ("temperature", math.inf, "decoding.temperature must be finite and >= 0, got inf"),
        ("top_p", 0.0, "decoding.top_p must be in"),
        ("top_p", 1.01, "decoding.top_p must be in"),
        ("top_p", math.nan, "decoding.top_p must be in"),
        ("top_k", -1, "decoding.top_k must be >= 0, got -1"),
        ("alpha", math.nan, "decoding.alpha must be a finite number, got nan"),
        ("alpha", math.inf, "decoding.alpha must be a finite number, got inf"),
        ("alpha", -math.inf, "decoding.alpha must be a finite number, got -inf"),
        ("block_size", 1, "decoding.block_size must be >= 2, got 1"),
        ("block_size", -3, "decoding.block_size must be >= 2, got -3"),
        ("verify_size", -1, "decoding.verify_size must be >= 0, got -1"),
        ("max_new_tokens", math.inf, "decoding.max_new_tokens must be a whole number, got inf"),
        ("max_new_tokens", math.nan, "decoding.max_new_tokens must be a whole number, got nan"),
        ("top_k", 1.5, "decoding.top_k must be a whole number, got 1.5"),
        ("seed", 1.0, "decoding.seed must be a whole number, got 1.0"),
        ("temperature", 1e-40, "decoding.temperature must be 0 (greedy) or at least 1e-06, got 1e-40"),
        ("temperature", "hot", "decoding.temperature must be a number, got 'hot'"),
        ("eos_token_ids", 5, "decoding.eos_token_ids must be a list, each of it a whole number, got 5"),
        ("eos_token_ids", (1, -2), "decoding.eos_token_ids must be token ids >= 0, got -2"),
    ],
)
def test_a_bad_decoding_setting_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        DecodingSpec(**{field: value})


@pytest.mark.parametrize("spec", [TTTSpec, DecodingSpec])
def test_defaults_are_accepted(spec: Any) -> None:
    spec()


@pytest.mark.parametrize(
    ("ids", "context_length", "message"),
    [
        ((), -1, "prompt is empty"),
        ((1, 2), 0, "context_length must be between 1 and the prompt's 2 tokens, got 0"),
        ((1, 2), 3, "context_length must be between 1 and the prompt's 2 tokens, got 3"),
        ((1, 2), -2, "context_length must be between 1 and the prompt's 2 tokens, got -2"),
        ((1, 2), 1.5, "context_length must be a whole number, got 1.5"),
        ((1, 2.7), -1, r"prompt must be token ids, whole numbers in a sequence, got \(1, 2.7\)"),
        ("a text", -1, "prompt must be token ids, whole numbers in a sequence, got 'a text'"),
        ((1, -5), -1, "prompt must be token ids >= 0, got -5"),
        (7, -1, "prompt must be token ids, whole numbers in a sequence, got 7"),
    ],
)
def test_a_bad_prompt_is_refused(ids: Any, context_length: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prompt(ids, context_length)


@pytest.mark.parametrize(
    "ids", [torch.tensor([5, 6]), np.array([5, 6]), [5, 6], range(5, 7)], ids=["tensor", "array", "list", "range"]
)
def test_a_prompt_takes_any_sequence_of_whole_numbers(ids: Any) -> None:
    assert Prompt(ids).input_ids == (5, 6)


def test_the_context_is_the_whole_prompt_where_not_given() -> None:
    assert Prompt((5, 6, 7)).context_length == 3


@pytest.mark.parametrize(
    ("rank", "lora_alpha", "modules", "message"),
    [
        (0, 1.0, ("fc",), "adapter.rank"),
        (1, -1.0, ("fc",), "adapter.lora_alpha"),
        (1, 1.0, ("x",), "unknown 'x'"),
    ],
)
def test_a_bad_adapter_is_named(rank: int, lora_alpha: float, modules: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adapter(rank, lora_alpha, modules, {})


def generation(*lengths: int) -> Generation:
    return Generation("", (), lengths, "length", 0, 0.0)


def test_tau_counts_the_bonus_token() -> None:
    assert generation(1, 4, 4).tau == 3


def test_tau_of_no_step_is_nan() -> None:
    assert math.isnan(generation().tau)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": "a"}, "record lacks .*'context_id', 'arm', 'seed', 'spec_hash'"),
        (
            {"task_id": "a", "context_id": "c", "arm": "x", "seed": 0, "spec_hash": "h", "colour": 1},
            "unknown keys .'colour'.",
        ),
    ],
)
def test_a_record_row_that_does_not_fit_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Record.from_json(row)
