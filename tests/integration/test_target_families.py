"""Targets of all families: their tokens are transformers' own, or they are refused in one sentence."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dftt.decoding.generate import generate
from dftt.models.cache import RowCache, place
from dftt.models.families import PROVEN
from dftt.models.target import Target
from dftt.types import DecodingSpec
from tests.fakes import random_prompt
from tests.families import Outcome, byte_tokenizer, greedy, outcome_of, pair_of, tiny_model
from tests.integration.test_golden import FAMILIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "targets.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
WRITE = "DFTT_WRITE_TARGETS"  # set to 1, the test of the table writes it

EQUAL: list[tuple[str, dict[str, Any]]] = [
    ("mistral", {}),
    ("phi3", {}),
    ("starcoder2", {}),
    ("gpt_oss", {}),
    ("deepseek_v3", {}),
    ("gemma2", {}),
    ("gemma3_text", {}),
    ("gemma4_text", {}),
    ("falcon", {}),
    ("gpt2", {}),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 2}),
]
# Head widths that the kernels take, and such that they do not.
ON_A_CARD = [*EQUAL, *((family, {"head_dim": 16}) for family in ("mistral", "gpt_oss", "qwen3", "gemma3_text"))]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("qwen3_next", {}, "has linear_attention layers, whose state cannot be rolled back"),
    ("mamba2", {}, "has linear_attention layers, whose state cannot be rolled back"),
    ("rwkv", {}, "keeps a state that cannot be rolled back"),
    ("llama4_text", {}, "has chunked_attention layers, which are not supported"),
    ("cohere", {}, "scales its logits"),
    ("falcon", {"alibi": True}, r"falcon, with position biases \(ALiBi\)\) is not supported"),
    ("gpt_neo", {}, "says window_size=256 in its config"),
    ("gemma3n_text", {}, "would not give the model's own tokens"),
    ("opt", {"word_embed_proj_dim": 16}, "embeds tokens in width 16, its layers are 32 wide"),
]


def saved(folder: Path, family: str, **changes: Any) -> Any:
    """A tiny model of the family, saved with a tokenizer."""
    model = tiny_model(family, **changes)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return model


def test_families_not_tried_are_those_of_the_golden_tests(tiny_pair) -> None:
    assert {tiny_pair(family).target.config.model_type for family in FAMILIES} == PROVEN
    assert all(f"`{family}`" in PAGE.read_text(encoding="utf-8").split(BEGIN)[0] for family in PROVEN)


@pytest.mark.parametrize(("family", "changes"), EQUAL, ids=lambda value: value if isinstance(value, str) else "")
def test_a_familys_tokens_are_those_of_transformers(tmp_path: Path, family: str, changes: dict) -> None:
    outcome = outcome_of(family, tmp_path, **changes)
    assert outcome.kind == "equal", outcome.why


@pytest.mark.parametrize(
    ("family", "changes", "why"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_family_that_cannot_be_followed_is_refused(tmp_path: Path, family: str, changes: dict, why: str) -> None:
    outcome = outcome_of(family, tmp_path, **changes)
    assert outcome.kind == "refused"
    assert re.search(why, outcome.why), outcome.why
    assert "\n" not in outcome.why


NTK = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(("family", "changes"), [("gpt2", {}), ("llama", {"rope_parameters": NTK}), ("qwen2", {})])
@pytest.mark.parametrize("mode", ["target", "speculative"])
def test_a_window_is_used_to_its_last_token(tmp_path: Path, family: str, changes: dict, mode: Any) -> None:
    """A block that ran past it read a position that GPT-2 has not learnt, and changed dynamic NTK's frequencies."""
    model = saved(tmp_path, family, max_position_embeddings=64, **changes)
    prompt = random_prompt(44, seed=2)
    wanted = greedy(model, 20, prompt)
    pair = pair_of(tmp_path, model)
    spec = DecodingSpec(mode=mode, max_new_tokens=20, ignore_eos=True)
    assert generate(pair, prompt, spec).token_ids == wanted
    assert generate(pair, [prompt, random_prompt(30)], spec)[0].token_ids == wanted


@pytest.mark.parametrize(("family", "changes"), [("gpt2", {}), ("llama", {"rope_parameters": NTK})])
def test_proposals_past_the_window_change_no_logit_before(tmp_path: Path, family: str, changes: dict) -> None:
    model = saved(tmp_path, family, max_position_embeddings=64, **changes)
    target, ids = Target.load(tmp_path), torch.tensor([random_prompt(67, seed=2).input_ids])
    cache = RowCache(target.num_layers, rows=1, capacity=67)
    with torch.no_grad():
        wanted = model(ids[:, :64]).logits[0, 61:]
        target.forward(ids[:, :61], place([0], 61, device=target.device), cache, tap_ids=())
        hidden, _ = target.forward(ids[:, 61:], place([61], 6, device=target.device), cache, tap_ids=())
        torch.testing.assert_close(target.head(hidden[0, :3]), wanted, atol=1e-4, rtol=0)


def test_the_window_ends_where_longrope_changes_its_frequencies(tmp_path: Path) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0, 4.0, 2.0, 1.0],
        "original_max_position_embeddings": 48,
    }
    model = saved(tmp_path, "phi3", rope_parameters=rope, original_max_position_embeddings=48)
    pair, prompt = pair_of(tmp_path, model), random_prompt(30, seed=2)
    assert pair.target.window == 48
    spec = DecodingSpec(max_new_tokens=18, ignore_eos=True)
    assert generate(pair, prompt, spec).token_ids == greedy(model, 18, prompt)
    with pytest.raises(ValueError, match="do not fit the target's window of 48"):
        generate(pair, random_prompt(31), spec)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("family", ["gemma2", "mistral"])
def test_a_family_is_tried_in_the_precision_it_is_loaded_in(tmp_path: Path, family: str, dtype: str) -> None:
    saved(tmp_path, family)
    assert Target.load(tmp_path, dtype=dtype).dtype == getattr(torch, dtype)


def written(family: str, outcome: Outcome) -> str:
    """A row of the table; figures of the trial, which may differ from machine to machine, are left out."""
    why = re.sub(r" \(tried on random tokens, .*\)$", "", outcome.why, flags=re.DOTALL)
    return f"| `{family}` | {outcome.kind} | {' '.join(why.split()).replace('|', '/').replace('<', '&lt;')} |"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_table_of_targets_is_what_the_families_do_here(tmp_path: Path) -> None:
    version = transformers.__version__
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get(WRITE) != "1" and f"transformers {version}" not in page:
        pytest.skip(f"the table is of another transformers than {version}")
    outcomes = {family: outcome_of(family, tmp_path / family) for family in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)}
    assert [family for family, outcome in outcomes.items() if outcome.kind == "WRONG"] == []
    counts = Counter(outcome.kind for outcome in outcomes.values())
    rows = [
        f"transformers {version}: {len(outcomes)} families, {counts['equal']} equal, {counts['refused']} refused, "
        f"{counts['not built']} not built.",
        "",
        "| family | outcome | how, or why not |",
        "|---|---|---|",
        *(written(family, outcome) for family, outcome in outcomes.items()),
    ]
    before, rest = page.split(BEGIN)
    made = "\n".join([before + BEGIN, *rows, END]) + rest.split(END)[1]
    if os.environ.get(WRITE) == "1":
        PAGE.write_text(made, encoding="utf-8")
    assert made == PAGE.read_text(encoding="utf-8"), f"the table is stale: run this test with {WRITE}=1"
