"""The decoding benchmark on a tiny shape: both sides decode the same tokens, and the report says what was done."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import decode
from benchmarks.plain import PlainLoop, generate_seconds, stock_model
from benchmarks.shapes import SHAPES, build_pair, cycle_bytes, random_prefill
from benchmarks.sides import ALPHA, engine, plain_pair, scripted
from benchmarks.timing import alternate, copy_bandwidth
from dftt.decoding.generate import generate
from dftt.models.pair import Pair
from dftt.types import DecodingSpec
from tests.fakes import random_prompt

CPU = torch.device("cpu")
SPEC = DecodingSpec(max_new_tokens=20, ignore_eos=True)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """The tiny shape."""
    return build_pair("tiny", device=CPU, dtype=torch.float32)


def loop_tokens(loop: PlainLoop, run, count: int) -> list[int]:
    start = loop.start
    while len(loop.tokens) - start < count:
        run()
    return loop.tokens[start : start + count]


def test_the_plain_loop_decodes_the_tokens_of_the_engine(good_pair) -> None:
    pair, prompt = good_pair("qwen3")
    wanted = generate(pair, prompt, SPEC)
    loop = PlainLoop(pair.target.model, pair.draft, pair.prefill(prompt), wanted.token_ids[0], block_size=4)
    lengths = []
    with stock_model(pair.target.model):
        tokens = loop_tokens(loop, lambda: lengths.append(loop.speculate()), 20)
    assert tuple(tokens) == wanted.token_ids
    assert tuple(lengths) == wanted.acceptance_lengths


def test_the_plain_guided_loop_decodes_the_tokens_of_the_engine(good_pair) -> None:
    pair, prompt = good_pair("qwen3")
    wanted = generate(pair, prompt, replace(SPEC, mode="guided", alpha=ALPHA, verify_size=1))
    loop = PlainLoop(pair.target.model, pair.draft, pair.prefill(prompt), wanted.token_ids[0], block_size=4)
    with stock_model(pair.target.model):
        assert tuple(loop_tokens(loop, lambda: loop.guide(ALPHA), 20)) == wanted.token_ids


def test_generate_behind_a_prefill_is_timed_per_token(pair: Pair) -> None:
    prefill = pair.prefill(random_prompt(30))
    with stock_model(pair.target.model):
        seconds = generate_seconds(pair.target.model, prefill, 5)
    assert len(seconds) == 5
    assert min(seconds) > 0


def test_stock_model_is_left_again(pair: Pair) -> None:
    before = pair.target.model.config._attn_implementation
    with stock_model(pair.target.model):
        assert pair.target.model.config._attn_implementation == "sdpa"
    assert pair.target.model.config._attn_implementation == before


@pytest.mark.parametrize("mode", ["speculative", "guided"])
def test_a_scripted_engine_commits_what_it_is_told(pair: Pair, mode) -> None:
    made = engine(pair, random_prefill(pair, 40), mode=mode, rows=2, block_size=8, committed=5)
    for _ in range(3):
        made.step()
    assert [row.acceptance_lengths for row in made.rows] == [[5, 5, 5]] * 2


def test_the_script_never_commits_more_than_was_verified() -> None:
    proposed, drawn = torch.zeros(2, 3), torch.zeros(2, 4)
    assert scripted(9)(proposed, drawn).tolist() == [3, 3]


def test_plain_sides_run_on_plain_linears_of_their_own(pair: Pair) -> None:
    stock = plain_pair(pair)
    assert not any(type(module).__name__ == "PackedLinear" for module in stock.target.model.modules())
    assert any(type(module).__name__ == "PackedLinear" for module in pair.target.model.modules())


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_shape_is_consistent(name: str) -> None:
    shape = SHAPES[name]
    assert shape.target["hidden_size"] % shape.target["num_attention_heads"] == 0 or "head_dim" in shape.target
    assert shape.mask_token_id < shape.target["vocab_size"]


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="qwen3-8b"):
        build_pair("qwen9", device=CPU, dtype=torch.float32)


def test_the_floor_counts_weights_head_and_caches(pair: Pair) -> None:
    parts = cycle_bytes(pair, context=100, rows=3)
    assert parts["target weights"] == sum(p.nbytes for p in pair.target.model.parameters())  # tied: the head is in it
    assert parts["head, for the draft"] == 300 * 32 * 4
    assert parts["target keys and values"] == 3 * 100 * 5 * 2 * (2 * 8) * 4
    assert parts["draft keys and values"] == 3 * 100 * 2 * 2 * (2 * 8) * 4


def test_sides_take_turns() -> None:
    order: list[str] = []
    sides = {name: lambda cycles, name=name: order.extend([name] * cycles) or [1.0] * cycles for name in "ab"}
    times = alternate(sides, cycles=4, rounds=2, warmup=1)
    assert "".join(order) == "abaabbaabb"
    assert times["a"].cycles == 4


def test_a_copy_has_a_bandwidth() -> None:
    assert copy_bandwidth(CPU, size=1 << 16) > 0


@pytest.mark.slow
def test_the_command_writes_json_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shape", "tiny", "--device", "cpu", "--contexts", "32", "--rows", "1", "2", "--cycles", "1"]
    decode.main([*options, "--commit", "abc1234", "--out", str(tmp_path / "decode")])
    written = json.loads((tmp_path / "decode.json").read_text())
    assert written["machine"]["commit"] == "abc1234"
    assert {row["side"] for row in written["rows"] if row["rows"] == 1} >= {
        "ours, speculative",
        "plain loop, speculative",
    }
    table = (tmp_path / "decode.md").read_text()
    assert "Scripted" in table
    assert table.strip() == capsys.readouterr().out.strip()


@pytest.mark.slow
def test_sides_that_do_not_fit_together_are_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def scarce(sides, *, cycles: int):
        asked.append(list(sides))
        if len(sides) > 1 or "plain loop, speculative" in sides:
            raise torch.OutOfMemoryError
        return alternate(sides, cycles=cycles)

    monkeypatch.setattr(decode, "alternate", scarce)
    report = decode.main(["--shape", "tiny", "--device", "cpu", "--contexts", "30", "--cycles", "1"])
    cycles = {row["side"]: row["cycle, ms"] for row in report.rows}
    assert cycles.pop("plain loop, speculative") == "out of memory"
    assert len(cycles) == 6
    assert all(value > 0 for value in cycles.values())
    assert asked[:3] == [list(asked[0]), [asked[0][0]], [asked[0][1]]]
