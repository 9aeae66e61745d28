"""The bundled target, and the draft that ships for it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from dftt.adaptation.losses import run_blocks
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.generate import generate
from dftt.models import bundled
from dftt.models.cache import place
from dftt.models.lora import applied
from dftt.models.pair import BUNDLED, Pair, check_fit, load_pair
from dftt.models.target import Target
from dftt.types import DecodingSpec, Prompt, TTTSpec
from tests.fakes import bundled_shape_draft

QUESTIONS = [
    "A baker sells 3 trays of 12 rolls in the morning and half as many in the afternoon. How many in all?",
    "Name three things that float on water, one per line.",
    "Write a Python function that returns the largest of two numbers.",
]
one_fast = pytest.mark.parametrize(
    "question", [QUESTIONS[0], *(pytest.param(question, marks=pytest.mark.slow) for question in QUESTIONS[1:])]
)
SPEC = DecodingSpec(max_new_tokens=32)


@pytest.fixture(scope="module")
def two_threads() -> Iterator[None]:
    """The bundled target is large enough to use both cores, where no other worker of the test run wants one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def target(two_threads: None, bundled_weights: Path) -> Target:
    """The bundled target in float32."""
    return Target.load(BUNDLED)


@pytest.fixture(scope="module")
def random_pair(target: Target) -> Pair:
    """The bundled target with a random draft of the real shape."""
    draft = bundled_shape_draft()
    check_fit(target, draft.config)
    return Pair(target, draft)


@pytest.fixture(scope="module")
def trained_pair(target: Target) -> Pair:
    """The pair that ships."""
    return load_pair()


@pytest.fixture(scope="module")
def reference(target: Target) -> Any:
    """The bundled target as transformers runs it."""
    folder = bundled.target_folder(BUNDLED)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()


@pytest.fixture(scope="module")
def ask(target: Target, random_pair: Pair) -> Callable[[str], Prompt]:
    """The prompt of one question."""
    return lambda question: random_pair.encode([{"role": "user", "content": question}])


@one_fast
def test_greedy_equals_transformers_generate(random_pair: Pair, reference: Any, ask, question: str) -> None:
    prompt = ask(question)
    ids = torch.tensor([prompt.input_ids])
    expected = reference.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=SPEC.max_new_tokens
    )
    answer = generate(random_pair, prompt, replace(SPEC, mode="target"))
    assert list(answer.token_ids) == expected[0, len(prompt) :].tolist()


def test_the_mask_token_is_a_special_token_that_ends_nothing(target: Target) -> None:
    assert target.tokenizer.convert_ids_to_tokens(16) == "<empty_output>"
    assert 16 not in target.eos_token_ids


def test_every_slot_gets_the_logits_it_was_trained_with(random_pair: Pair, ask: Callable[[str], Prompt]) -> None:
    pair, ids = random_pair, ask(QUESTIONS[0]).input_ids
    anchors = [1, 9, len(ids) - 1]
    features = pair.prefill(Prompt(ids)).features
    with torch.no_grad():
        hidden = run_blocks(
            pair.draft,
            pair.target,
            features=features[None],
            anchors=torch.tensor([anchors]),
            anchor_ids=torch.tensor([[ids[anchor] for anchor in anchors]]),
        )
        expected = pair.target.head(hidden[0, :, 1:])
        for number, anchor in enumerate(anchors):
            drafter = DFlashDrafter(pair.draft, pair.target)
            drafter.begin([features[:anchor]], capacity=len(ids) + 16)
            at = place([anchor], 16, device=torch.device("cpu"))
            # A draw that draws nothing: `propose` returns its logits.
            got = drafter.propose(torch.tensor([ids[anchor]]), at, lambda logits, _: logits)
            torch.testing.assert_close(got[0], expected[number], atol=1e-4, rtol=0)


def test_a_fresh_adapter_is_bitwise_the_base_draft(random_pair: Pair, ask: Callable[[str], Prompt]) -> None:
    """All bits of all slots of two blocks; the four tokens that were compared once are equal under any small change."""
    prompt = ask(QUESTIONS[1])
    fresh = ttt_adapt(random_pair, prompt, TTTSpec(steps=0)).adapter
    ids, features = prompt.input_ids, random_pair.prefill(prompt).features
    anchors = [9, len(ids) - 1]

    def slots() -> torch.Tensor:
        with torch.no_grad():
            return run_blocks(
                random_pair.draft,
                random_pair.target,
                features=features[None],
                anchors=torch.tensor([anchors]),
                anchor_ids=torch.tensor([[ids[anchor] for anchor in anchors]]),
            )

    base = slots()
    with applied(random_pair.draft, fresh):
        assert torch.equal(slots(), base)
    nudged = {name: tensor + 1e-4 if ".lora_B." in name else tensor for name, tensor in fresh.weights.items()}
    with applied(random_pair.draft, replace(fresh, weights=nudged)):
        assert not torch.equal(slots(), base)


@one_fast
@pytest.mark.slow
def test_the_trained_draft_is_lossless_and_accepted(trained_pair: Pair, ask, question: str) -> None:
    prompt = ask(question)
    speculative = generate(trained_pair, prompt, SPEC)
    assert speculative.token_ids == generate(trained_pair, prompt, replace(SPEC, mode="target")).token_ids
    assert speculative.tau > 1.5  # a random draft gives 1.0


@pytest.mark.parametrize(
    ("alpha", "temperature"),
    [
        (0.3, 0.0),
        *(
            pytest.param(alpha, temperature, marks=pytest.mark.slow)
            for alpha in (0.1, 0.3, 0.5, 1.0)
            for temperature in (0.0, 0.6)
            if (alpha, temperature) != (0.3, 0.0)
        ),
    ],
)
def test_block_verified_equals_the_loop_with_a_trained_draft(
    trained_pair: Pair, ask: Callable[[str], Prompt], alpha: float, temperature: float
) -> None:
    spec = replace(SPEC, mode="guided", alpha=alpha, temperature=temperature, max_new_tokens=16)
    loop = generate(trained_pair, ask(QUESTIONS[0]), replace(spec, verify_size=1))
    assert generate(trained_pair, ask(QUESTIONS[0]), replace(spec, verify_size=4)).token_ids == loop.token_ids
