"""The signal diagnostic reads what decoding would have seen, token by token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.forced import forced_logits
from dftt.models.cache import place
from dftt.models.draft import FULL, SLIDING
from dftt.models.lora import Adapter, applied
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import GuidanceSpec, Prompt, TTTSpec
from dftt_tools.diagnostic.__main__ import main
from dftt_tools.diagnostic.forcing import (
    BASE,
    NOISE,
    OWN,
    TARGET,
    WRONG,
    ForcedAnswer,
    force,
    force_all,
    noise_like,
)
from dftt_tools.diagnostic.questions import Context, Question
from dftt_tools.diagnostic.reading import Reading
from tests.fakes import random_prompt

SPEC = TTTSpec(steps=8, lr=2e-2, anchors=6)
DRAFTS: dict[str, dict[str, Any]] = {
    "full": {},
    "sliding": {"layer_types": (FULL, SLIDING), "sliding_window": 5},
    "block longer than the answer": {"block_size": 14},
}


def question(length: int = 20, answer: int = 9, *, seed: int = 0, name: str = "t") -> Question:
    ids = random_prompt(length + answer, seed=seed).input_ids
    return Question(name, name, ids[:length], ids[length:], (ids[length], (ids[length] + 1) % 256))


def told(logits: Tensor, token: int) -> tuple[int, float]:
    """Rank of a token, by sorting, and its log-probability, from one distribution (V,)."""
    order = logits.argsort(descending=True).tolist()
    return order.index(token) + 1, float(logits.log_softmax(-1)[token])


def told_by(reading: Reading, index: int, slot: int) -> tuple[int, float]:
    return int(reading.ranks[index, slot - 1]), float(reading.log_probs[index, slot - 1])


def proposed_logits(pair: Pair, ids: tuple[int, ...], anchor: int) -> Tensor:
    """Logits (K-1, V) of a block that a drafter proposes at an anchor, from a cache of what comes before it."""
    seen: list[Tensor] = []

    def capture(logits: Tensor, positions: Tensor) -> Tensor:
        seen.append(logits[0])
        return logits.argmax(-1)

    drafter = DFlashDrafter(pair.draft, pair.target)
    with torch.no_grad():
        drafter.begin([pair.prefill(Prompt(ids[: anchor + 1])).features[:anchor]], capacity=100)
        at = place([anchor], pair.draft.config.block_size, device=torch.device("cpu"))
        drafter.propose(torch.tensor([ids[anchor]]), at, capture)
    return seen[0]


@pytest.mark.parametrize("family", ["llama", "qwen3-sliding"])
def test_target_and_first_slot_are_those_of_cached_decoding(tiny_pair: Callable[..., Pair], family: str) -> None:
    pair, asked = tiny_pair(family, dtype="float64"), question()
    slot_1 = GuidanceSpec("interpolate", alpha=1.0)
    wanted = forced_logits(pair, Prompt(asked.prompt), asked.answer, [slot_1])
    readings = force(pair, asked, {}).readings
    for source, logits in ((TARGET, wanted.target), (BASE, wanted.guided[0])):
        for index, token in enumerate(asked.answer):
            rank, log_prob = told(logits[index], token)
            assert told_by(readings[source], index, 1) == (rank, pytest.approx(log_prob, abs=1e-9))
    probs = wanted.target.softmax(-1)
    torch.testing.assert_close(readings[TARGET].confidence[:, 0], probs.amax(-1))
    torch.testing.assert_close(readings[TARGET].entropy[:, 0], -(probs * probs.log()).sum(-1))


@pytest.mark.parametrize("draft", DRAFTS)
def test_every_slot_is_what_a_drafter_proposes_at_that_anchor(tiny_pair: Callable[..., Pair], draft: str) -> None:
    """As test_layouts: were the two to differ, the diagnostic would speak of a draft that never decodes."""
    pair, asked = tiny_pair("qwen3", dtype="float64", **DRAFTS[draft]), question()
    check_slots(pair, asked, force(pair, asked, {}).readings[BASE])


def test_slots_under_an_adapter_are_the_adapted_proposals(tiny_pair: Callable[..., Pair]) -> None:
    pair, asked = tiny_pair("qwen3", dtype="float64"), question()
    adapter = ttt_adapt(pair, Prompt(asked.prompt), SPEC).adapter
    readings = force(pair, asked, {OWN: adapter}).readings
    with applied(pair.draft, adapter):
        check_slots(pair, asked, readings[OWN])
    assert not torch.allclose(readings[OWN].log_probs[:, 0], readings[BASE].log_probs[:, 0], atol=1e-2)


def check_slots(pair: Pair, asked: Question, reading: Reading) -> None:
    first, slots = len(asked.prompt) - 1, pair.draft.config.block_size - 1
    assert reading.ranks.shape == (len(asked.answer), slots)
    by_anchor = [proposed_logits(pair, asked.token_ids, first + block) for block in range(len(asked.answer))]
    for index, token in enumerate(asked.answer):
        for slot in range(1, slots + 1):
            if slot > index + 1:  # its anchor would lie in the prompt, where no block of decoding opens
                assert reading.ranks[index, slot - 1].isnan()
            else:
                rank, log_prob = told(by_anchor[index + 1 - slot][slot - 1], token)
                assert told_by(reading, index, slot) == (rank, pytest.approx(log_prob, abs=1e-9))


def test_more_blocks_than_fit_a_pass_change_nothing(
    tiny_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, asked = tiny_pair("qwen3", dtype="float64"), question()
    whole = force(pair, asked, {}).readings[BASE]
    monkeypatch.setattr("dftt_tools.diagnostic.forcing.BLOCKS", 2)
    monkeypatch.setattr("dftt_tools.diagnostic.reading.CHUNK", 3)
    parts = force(pair, asked, {}).readings[BASE]
    torch.testing.assert_close(parts.log_probs, whole.log_probs, equal_nan=True)
    assert torch.equal(parts.ranks.nan_to_num(), whole.ranks.nan_to_num())


def test_the_lens_is_norm_and_head_on_a_layers_output(
    tiny_pair: Callable[..., Pair], reference: Callable[..., Any]
) -> None:
    pair, asked = tiny_pair("qwen3", dtype="float64"), question()
    model = reference("qwen3", torch.float64)
    with torch.no_grad():
        states = model(torch.tensor([asked.token_ids]), output_hidden_states=True).hidden_states
    answer, first = force(pair, asked, {}), len(asked.prompt) - 1
    for place_of, tap in enumerate(pair.draft.config.tap_ids):
        torch.testing.assert_close(answer.states[place_of], states[tap][0, first])
        logits = model.lm_head(model.model.norm(states[tap][0]))
        for index, token in enumerate(asked.answer):
            rank, log_prob = told(logits[first + index], token)
            assert told_by(answer.readings[f"layer {tap}"], index, 1) == (rank, pytest.approx(log_prob, abs=1e-9))
        right, wrong = asked.choice or (0, 0)
        margin = float(logits[first, right] - logits[first, wrong])
        assert answer.preferences[f"layer {tap}"] == pytest.approx(margin, abs=1e-9)


def test_a_prefill_of_the_context_changes_nothing(tiny_pair: Callable[..., Pair]) -> None:
    pair, asked = tiny_pair("qwen3", dtype="float64"), question()
    prefix = pair.prefill(Prompt(asked.prompt[:11]))
    whole, led_on = (force(pair, asked, {}, prefix=given).readings[BASE] for given in (None, prefix))
    torch.testing.assert_close(led_on.log_probs, whole.log_probs, equal_nan=True)


def test_random_features_have_only_the_features_scale() -> None:
    features = torch.randn(4000, 3) * torch.tensor([0.1, 1.0, 30.0]) + torch.tensor([5.0, 0.0, -7.0])
    noise = noise_like(features, seed=1)
    torch.testing.assert_close(noise.mean(0), features.mean(0), atol=2.0, rtol=0.05)
    torch.testing.assert_close(noise.std(0), features.std(0), rtol=0.05, atol=0)
    assert torch.corrcoef(torch.stack([noise[:, 2], features[:, 2]]))[0, 1].abs() < 0.06
    assert torch.equal(noise, noise_like(features, seed=1))
    assert not torch.equal(noise, noise_like(features, seed=2))


def test_the_random_control_comes_again_with_its_seed(tiny_pair: Callable[..., Pair]) -> None:
    pair, asked = tiny_pair("qwen3"), question()
    first, again, other = (force(pair, asked, {}, seed=seed).readings for seed in (0, 0, 1))
    assert torch.equal(first[NOISE].log_probs[:, 0], again[NOISE].log_probs[:, 0])
    for different in (first[BASE], other[NOISE]):
        assert not torch.allclose(first[NOISE].log_probs[:, 0], different.log_probs[:, 0], atol=1e-3)


def contexts_of(count: int) -> list[Context]:
    asked = [question(seed=number, name=f"q{number}") for number in range(count)]
    return [Context(each.context_id, Prompt(each.prompt), (each,)) for each in asked]


def test_the_wrong_context_is_the_next_one_in_a_circle(tiny_pair: Callable[..., Pair]) -> None:
    pair, contexts = tiny_pair("qwen3", dtype="float64"), contexts_of(3)
    adapters = [ttt_adapt(pair, context.prompt, SPEC).adapter for context in contexts]
    for place_of, answer in enumerate(force_all(pair, contexts, SPEC, seed=0)):
        wanted: dict[str, Adapter] = {OWN: adapters[place_of], WRONG: adapters[(place_of + 1) % 3]}
        alone = force(pair, contexts[place_of].questions[0], wanted)
        for source in (OWN, WRONG):
            torch.testing.assert_close(
                answer.readings[source].log_probs, alone.readings[source].log_probs, equal_nan=True
            )
    assert not any(".lora_" in name for name, _ in pair.draft.named_parameters())


@pytest.mark.parametrize(("steps", "count", "missing"), [(0, 2, {OWN, WRONG}), (2, 1, {WRONG})])
def test_what_was_not_adapted_is_no_source(
    tiny_pair: Callable[..., Pair], steps: int, count: int, missing: set[str]
) -> None:
    answers: list[ForcedAnswer] = list(
        force_all(tiny_pair("qwen3"), contexts_of(count), TTTSpec(steps=steps, anchors=4), seed=0)
    )
    layers = {"layer 1", "layer 2", "layer 3"}
    for answer in answers:
        assert set(answer.readings) == ({TARGET, BASE, NOISE, OWN, WRONG} | layers) - missing


# -- the command -------------------------------------------------------------------------------------------------------


def write_rows(folder: Path, count: int = 3, **fields: str) -> Path:
    path = folder / "rows.jsonl"
    rows = [
        {"id": f"r{n}", "context": f"Goat {n} has {n + 2} horns.", "question": f"Goat {n}?", **fields}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def flags(tmp_path: Path, tiny_target: Callable[[str], Path], tiny_draft: Callable[..., Path]) -> list[str]:
    named = {"target": tiny_target("qwen3"), "draft": tiny_draft(), "out": tmp_path / "out", "steps": 2, "anchors": 4}
    return [part for name, value in named.items() for part in (f"--{name}", str(value))]


def test_the_command_leaves_tokens_a_summary_and_tables(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path, answer="two horns", distractor="one horn")
    main(["--data", str(data), "--suite", "nqswap", *flags])
    lines = [json.loads(line) for line in (tmp_path / "out" / "tokens.jsonl").read_text().splitlines()]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(lines) == 3 * len("two horns")
    assert [len(line["ranks"][BASE]) for line in lines[:5]] == [1, 2, 3, 3, 3]  # blocks of 4 reach three tokens
    everything = next(row for row in summary["comparisons"] if (row["source"], row["bucket"]) == (BASE, "all"))
    ahead = [line["ranks"][BASE][0] < line["ranks"][TARGET][0] for line in lines]
    assert everything["rank_better"] == pytest.approx(sum(ahead) / len(ahead))
    assert (summary["answers"], summary["left_out"], len(summary["probes"])) == (3, {}, 3)
    assert summary["recipe"]["options"]["data"] == str(data)
    assert summary["recipe"]["ttt"]["steps"] == 2
    printed = capsys.readouterr().out
    assert all(sentence in printed for sentence in summary["sentences"])
    assert "cannot tell" in summary["sentences"][0]  # three contexts


def clbench_rows(folder: Path) -> Path:
    metadata = {"context_category": "Rule System Application", "sub_category": "Games", "answer": "yes"}
    path = folder / "clbench.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Rules."}], "metadata": metadata}) + "\n")
    return path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "none.jsonl"], "tasks: no file at none.jsonl"),
        (["--suite", "nqswop"], "suite 'nqswop' is unknown; choose from"),
        (["--answers", "golden"], "--answers: 'golden' is neither `gold` nor the folder of a run"),
        (["--max-contexts", "-1"], "--max-contexts must be >= 0, got -1"),
        (["--steps", "-2"], "ttt.steps must be >= 0, got -2"),
        (["--loss", "mse"], "ttt.loss: unknown 'mse'; choose from ce, kl, mixed"),
        (["--dtype", "int8"], "dtype: unknown 'int8'; choose from"),
        (["--target", "nowhere/model"], "target 'nowhere/model' could not be loaded"),
        ([], "none of the 3 tasks can be read (3 with no answer)"),
    ],
)
def test_bad_input_is_one_sentence_before_a_model_loads(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert refused(["--data", str(write_rows(tmp_path)), *flags, *given], capsys).startswith(f"error: {said}")


def test_contexts_of_clbench_are_not_adapted_to_without_leave(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data", str(clbench_rows(tmp_path)), *flags]
    assert "--allow-clbench-ttt" in refused(command, capsys)
    main([*command, "--steps", "0"])
    assert "forbids" not in capsys.readouterr().err
    main([*command, "--allow-clbench-ttt"])
    assert "forbids training or any parameter update" in capsys.readouterr().err


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that bad input is answered with; no target was loaded."""
    with (
        patch.object(Target, "load", side_effect=AssertionError("the target was loaded")),
        pytest.raises(SystemExit) as stopped,
    ):
        main(command)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line
