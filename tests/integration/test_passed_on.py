"""What a study is told reaches what it calls: its records are what the public functions and plain arithmetic give.

One study of many arms, all of which start from a checkpoint's adapter. Tokens are drawn so hot that a random draft is
accepted now and then, so that acceptance lengths tell one draft from another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dftt import (
    Adaptation,
    Adapter,
    DecodingSpec,
    Generation,
    GuidanceSpec,
    Materials,
    Pair,
    Prompt,
    TTTSpec,
    generate,
    load_pair,
    ttt_adapt,
)
from dftt.adaptation.online import learning
from dftt.models.draft import tapped
from dftt.study.records import load_records
from dftt.study.traces import Trace, load_traces
from dftt.types import Record
from tests import by_hand
from tests.commands import CONTEXTS, QUESTIONS, Commands, log_dir

TASK = "boats/0"
SEED = 3
TTT = TTTSpec(steps=6, lr=0.05, warmup=0, anchors=4)
SPEC = DecodingSpec(max_new_tokens=16, temperature=3.0, top_k=100, top_p=0.95, seed=SEED, ignore_eos=True)
STUDY = (
    *(f"--model.ttt.{name}={getattr(TTT, name)}" for name in ("steps", "lr", "warmup", "anchors")),
    *(f"--evaluator.decoding.{name}={getattr(SPEC, name)}" for name in ("max_new_tokens", "temperature", "top_k")),
    "--evaluator.decoding.top_p=0.95",
    "--evaluator.decoding.ignore_eos=true",
)
ARMS = {
    "target": "{mode: target}",
    "matched to half guided": "{mode: target, matched_to: guided@0.5+own}",
    "matched to minus other": "{mode: target, matched_to: 'guided:own_minus_other@1+own,top_k=50'}",
    "matched to noise": "{mode: target, matched_to: 'guided:noise_norm@0.5+own'}",
    "matched to one tap": "{mode: target, matched_to: 'guided@3+own,taps=0'}",
    "none": "{mode: speculative}",
    "window": "{mode: speculative, drafting: {draft_window: 3}}",
    "hybrid": "{mode: speculative, drafting: {drafter: hybrid, lookup_suffix: 2}}",
    "own": "{mode: speculative, ttt: own}",
    "wrong": "{mode: speculative, ttt: wrong}",
    "settings": "{mode: speculative, ttt: own, ttt_overrides: {lr: 0.05, steps: 4, seed: 9, loss: ce}}",
    "taps": "{mode: speculative, ttt: own, taps: 0}",
    "taps of none": "{mode: speculative, taps: deep}",
    "rounds": "{mode: speculative, ttt: own, rounds: 2, ttt_overrides: {lr: 0.1, steps: 20}}",
    "still rounds": "{mode: speculative, ttt: own, rounds: 2, ttt_overrides: {lr: 1.0e-12}}",
    "guided none": "{mode: guided, alpha: 1.0}",
    "guided": "{mode: guided, alpha: 1.0, ttt: own}",
    "half guided": "{mode: guided, alpha: 0.5, ttt: own}",
    "cool": "{mode: guided, alpha: 0.5, ttt: own, temperature: 1.5, top_p: 0.8}",
    "minus other": "{mode: guided, alpha: 1.0, ttt: own, guidance: {rule: own_minus_other, top_k: 50}}",
    "noise": "{mode: guided, alpha: 0.5, ttt: own, guidance: {rule: noise_norm}}",
    "one tap": "{mode: guided, alpha: 3.0, ttt: own, taps: 0}",
    "faint one tap": "{mode: guided, alpha: 1.5, ttt: own, taps: 0}",
    "learning": "{mode: speculative, ttt: own, ttt_overrides: {learns_from: generation, every: 4}}",
    "rerank": "{mode: rerank, ttt: own, parameters: {samples: 4}}",
    "rerank none": "{mode: rerank, parameters: {samples: 4}}",
}


@dataclass(frozen=True)
class Study:
    """A study that was run, and what it was made of.

    Args:
        records: By the arms' names in ARMS.
        traces: Likewise.
        pair: Its target and draft.
        initial: The checkpoint's adapter, without losses.
        commands: The command line on the pair.
        checkpoint: Where the adapter came from.
        data: The contexts.
    """

    records: dict[str, Record]
    traces: dict[str, Trace]
    pair: Pair
    initial: Adaptation
    commands: Commands
    checkpoint: Path
    data: Path

    def adapted(self, spec: TTTSpec = TTT, *, context: str = "boats", taps: str | int = "all") -> Adaptation:
        """What an arm learns before it answers."""
        with tapped(self.pair.draft, taps):
            return ttt_adapt(self.pair, prompt_of(self.pair, context), spec, initial=self.initial.adapter)

    def answer(
        self, spec: DecodingSpec, under: Adaptation, *, name: str = TASK, materials: Materials | None = None
    ) -> Generation:
        """The answer under an adaptation."""
        prompt = prompt_of(self.pair)
        return generate(self.pair, prompt, spec, adaptation=under, sample_names=[name], materials=materials)


def prompt_of(pair: Pair, context: str = "boats") -> Prompt:
    return pair.encode([{"role": "user", "content": f"{CONTEXTS[context]}\n\n{QUESTIONS[0]}"}])


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, tiny_target: Callable[[str], Path], tiny_draft: Callable[..., Path]
) -> Study:
    commands = Commands(tmp_path_factory.mktemp("study"), tiny_target("qwen3"), tiny_draft())
    checkpoint = commands.checkpoint("--model.ttt.steps=12", "--model.ttt.lr=0.1")
    folder = next(commands.root.rglob("adapter_config.json")).parent
    data = commands.contexts("boats", "rules", tasks=1)
    flags = (*STUDY, f"--ckpt_path={checkpoint}", f"--evaluator.seeds=[{SEED}]", "--trainer.limit_test_batches=1")
    quiet = ("--evaluator.trace_tasks=1", "--evaluator.rows=4", "--trainer.logger=false", "--evaluator.baseline=target")
    arms = f"--evaluator.arms=[{', '.join(ARMS.values())}]"
    run_dir = commands.root / "records"
    cli = commands("test", *flags, *quiet, arms, f"--evaluator.run_dir={run_dir}", data=data)
    names = {arm.id: name for arm, name in zip(cli.evaluator.arms, ARMS, strict=True)}
    records = {names[record.arm]: record for record in load_records(run_dir)}
    traces = {names[trace.arm]: trace for trace in load_traces(run_dir).values()}
    initial = Adaptation(Adapter.load(folder), (), 0.0, 0)
    return Study(records, traces, load_pair(commands.target, commands.draft), initial, commands, checkpoint, data)


def outcome(made: Generation | Record) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return made.token_ids, made.acceptance_lengths


def losses_of(record: Record) -> list[float]:
    return record.adaptation["losses"]


def rounded(*losses: float) -> list[float]:
    """Losses as records hold them."""
    return [round(loss, 4) for loss in losses]


def test_the_study_can_tell_one_draft_from_another(study: Study) -> None:
    """Else nothing below would mean anything."""
    assert {record.finish_reason for record in study.records.values()} == {"length"}
    drafts = ("none", "window", "own", "wrong", "taps", "taps of none")
    assert len({study.records[name].acceptance_lengths for name in drafts}) == len(drafts)


# -- what the draft learns --------------------------------------------------------------------------------------------


def test_a_later_round_leads_the_earlier_adapter_on(study: Study) -> None:
    spec = replace(TTT, lr=0.1, steps=10)
    first = study.adapted(spec)
    said = Prompt(prompt_of(study.pair).input_ids + study.answer(SPEC, first).token_ids)
    second = ttt_adapt(study.pair, said, spec, initial=first.adapter)
    assert losses_of(study.records["rounds"]) == pytest.approx([*first.losses, *second.losses], abs=1e-3)
    assert outcome(study.records["rounds"]) == outcome(study.answer(SPEC, second))


def test_a_later_round_learns_from_the_answer_too(study: Study) -> None:
    """At a rate of nothing the adapter stays, and losses say which text was read."""
    spec = replace(TTT, steps=3, lr=1e-12)
    first = study.answer(SPEC, study.initial)
    said = Prompt(prompt_of(study.pair).input_ids + first.token_ids)
    before = ttt_adapt(study.pair, prompt_of(study.pair), spec, initial=study.initial.adapter)
    after = ttt_adapt(study.pair, said, spec, initial=study.initial.adapter)
    assert losses_of(study.records["still rounds"])[3:] == pytest.approx(after.losses, abs=1e-3)
    assert before.losses != pytest.approx(after.losses, abs=1e-2)


def test_masked_taps_stay_masked_while_adapting(study: Study) -> None:
    """The same as to learn from a prefill whose other features are zero."""
    prompt, width = prompt_of(study.pair), study.pair.draft.config.hidden_size
    prefill = study.pair.prefill(prompt)
    features = prefill.features.clone()
    features[:, width:] = 0
    made = ttt_adapt(
        study.pair, prompt, TTT, prefill=replace(prefill, features=features), initial=study.initial.adapter
    )
    assert losses_of(study.records["taps"]) == rounded(*made.losses)


def test_masked_taps_stay_masked_while_decoding(study: Study) -> None:
    for name, taps, under in (("taps", 0, study.adapted(taps=0)), ("taps of none", "deep", study.initial)):
        with tapped(study.pair.draft, taps):
            assert outcome(study.records[name]) == outcome(study.answer(SPEC, under))


def test_an_arms_own_ttt_settings_are_adapted_with(study: Study) -> None:
    made = study.adapted(replace(TTT, lr=0.05, steps=4, seed=9, loss="ce"))
    assert losses_of(study.records["settings"]) == rounded(*made.losses)
    assert outcome(study.records["settings"]) == outcome(study.answer(SPEC, made))


@pytest.mark.parametrize(("arm", "context"), [("own", "boats"), ("wrong", "rules")])
def test_an_arm_learns_from_its_context(study: Study, arm: str, context: str) -> None:
    made = study.adapted(context=context)
    assert losses_of(study.records[arm]) == rounded(*made.losses)
    assert outcome(study.records[arm]) == outcome(study.answer(SPEC, made))


def test_learning_from_the_answer_starts_from_the_checkpoint(study: Study) -> None:
    spec = replace(TTT, learns_from="generation", every=4)
    with learning(study.pair, spec, answer_tokens=16, initial=study.initial.adapter) as learner:
        made = generate(study.pair, prompt_of(study.pair), SPEC, learner=learner, sample_names=[TASK])
        losses = learner.adaptation.losses
    assert losses_of(study.records["learning"]) == rounded(*losses)
    assert outcome(study.records["learning"]) == outcome(made)


# -- what it answers under --------------------------------------------------------------------------------------------


def test_arms_without_ttt_use_the_checkpoints_adapter(study: Study) -> None:
    guided = replace(SPEC, mode="guided", alpha=1.0)
    assert outcome(study.records["none"]) == outcome(study.answer(SPEC, study.initial))
    assert outcome(study.records["guided none"]) == outcome(study.answer(guided, study.initial))


def test_an_arms_own_decoding_settings_are_decoded_with(study: Study) -> None:
    window = replace(SPEC, draft_window=3)
    hybrid = replace(SPEC, drafter="hybrid", lookup_suffix=2)
    cool = replace(SPEC, mode="guided", alpha=0.5, temperature=1.5, top_p=0.8)
    assert outcome(study.records["window"]) == outcome(study.answer(window, study.initial))
    assert outcome(study.records["hybrid"]) == outcome(study.answer(hybrid, study.initial))
    assert outcome(study.records["cool"]) == outcome(study.answer(cool, study.adapted()))


def test_arms_side_by_side_have_their_own_alpha(study: Study) -> None:
    for name, alpha in (("guided", 1.0), ("half guided", 0.5)):
        made = study.answer(replace(SPEC, mode="guided", alpha=alpha), study.adapted())
        assert outcome(study.records[name]) == outcome(made)


def test_arms_side_by_side_keep_their_taps(study: Study) -> None:
    under = study.adapted(taps=0)
    for name, alpha in (("one tap", 3.0), ("faint one tap", 1.5)):
        guided = replace(SPEC, mode="guided", alpha=alpha)
        with tapped(study.pair.draft, 0):
            made = study.answer(guided, under)
        assert outcome(study.records[name]) == outcome(made)
        assert outcome(made) != outcome(study.answer(guided, under))


def test_a_rule_gets_its_materials_and_its_settings(study: Study) -> None:
    rule = GuidanceSpec("own_minus_other", alpha=1.0, top_k=50)
    materials = Materials({"other": study.adapted(context="rules").adapter})
    made = study.answer(replace(SPEC, mode="guided", guidance=rule), study.adapted(), materials=materials)
    assert outcome(study.records["minus other"]) == outcome(made)


# -- what is asked along an answer ------------------------------------------------------------------------------------

RULES = {
    "half guided": GuidanceSpec(alpha=0.5),
    "minus other": GuidanceSpec("own_minus_other", alpha=1.0, top_k=50),
    "noise": GuidanceSpec("noise_norm", alpha=0.5),
    "one tap": GuidanceSpec(alpha=3.0),
}


@torch.no_grad()
def target_logits(study: Study, answer: tuple[int, ...]) -> Tensor:  # (N, V)
    prompt = prompt_of(study.pair)
    hidden = study.pair.prefill(Prompt(prompt.input_ids + answer)).hidden
    return study.pair.target.head(hidden[len(prompt) - 1 : -1]).double()


@torch.no_grad()
def draft_logits(study: Study, answer: tuple[int, ...], under: Adapter | None, *, taps: int = 3) -> Tensor:  # (N, V)
    """Slot 1 of the draft under an adapter at each token of an answer, by plain arithmetic; it sees the first taps."""
    pair, prompt = study.pair, prompt_of(study.pair)
    ids, config = prompt.input_ids + answer, pair.draft.config
    features = pair.prefill(Prompt(ids)).features.double()
    features[:, taps * config.hidden_size :] = 0
    weights = {name: each.double() for name, each in by_hand.merged(dict(pair.draft.named_parameters()), under).items()}
    masks = [config.mask_token_id] * (config.block_size - 1)
    block_of = lambda anchor: pair.target.embed(torch.tensor([anchor, *masks])).double()  # noqa: E731
    states = [
        by_hand.slot_one(weights, config, features[:at], block_of(ids[at]), at)
        for at in range(len(prompt) - 1, len(ids) - 1)
    ]
    return pair.target.head(torch.stack(states).float()).double()


def guided_scores(study: Study, name: str, under: Adapter) -> Tensor:  # (N, V)
    """What an arm of RULES draws from along its own answer, by plain arithmetic."""
    rule, answer, prompt = RULES[name], study.records[name].token_ids, prompt_of(study.pair)
    target = target_logits(study, answer)
    numerator, reference = draft_logits(study, answer, under, taps=1 if name == "one tap" else 3), target
    if name == "minus other":
        reference = draft_logits(study, answer, study.adapted(context="rules").adapter)
    if name == "noise":
        key, size = by_hand.key_of(SEED, TASK), numerator.shape[1]
        noise = torch.stack([by_hand.normal(key, len(prompt) + number, size) for number in range(len(answer))])
        loudness = (numerator - target).norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
        numerator = target + noise * loudness
    each = zip(target, numerator, reference, strict=True)
    return torch.stack([by_hand.guided(rule, *logits) for logits in each])


def adapter_of(study: Study, name: str) -> Adapter:
    return study.adapted(taps=0 if name == "one tap" else "all").adapter


def entropy(logits: Tensor) -> float:
    """Mean over positions, in nats."""
    return float(-(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean())


@pytest.mark.parametrize("name", RULES)
def test_a_temperature_is_matched_under_the_arms_adapter(study: Study, name: str) -> None:
    """And under its taps, its other context's adapter and its noise."""
    matched = study.records[f"matched to {name}"]
    found = matched.metadata["matched_temperature"]
    wanted = entropy(guided_scores(study, name, adapter_of(study, name)) / SPEC.temperature)
    assert entropy(target_logits(study, study.records[name].token_ids) / found) == pytest.approx(wanted, rel=1e-5)
    assert wanted != pytest.approx(
        entropy(guided_scores(study, name, study.initial.adapter) / SPEC.temperature), rel=5e-5
    )
    made = study.answer(replace(SPEC, mode="target", temperature=found), study.initial)
    assert outcome(matched) == outcome(made)


@pytest.mark.parametrize("name", RULES)
def test_a_trace_shows_what_the_arm_drew_from(study: Study, name: str) -> None:
    answer, scores = study.records[name].token_ids, guided_scores(study, name, adapter_of(study, name))
    expected = scores.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0].tolist()
    shown = [token.guided.log_prob for token in study.traces[name].tokens if token.guided is not None]
    assert shown == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("arm", ["rerank", "rerank none"])
def test_reranking_asks_the_draft_under_its_adapter(study: Study, arm: str) -> None:
    under = study.adapted() if arm == "rerank" else study.initial
    samples = [study.answer(SPEC, under, name=f"{TASK}/{number}") for number in range(4)]

    def favourite(adapter: Adapter | None) -> tuple[int, ...]:
        def score(answer: tuple[int, ...]) -> float:
            said = draft_logits(study, answer, adapter).log_softmax(-1)
            return float(said.gather(1, torch.tensor(answer)[:, None]).mean())

        return max((sample.token_ids for sample in samples), key=score)

    assert study.records[arm].token_ids == favourite(under.adapter)
    assert study.records[arm].acceptance_lengths == tuple(n for each in samples for n in each.acceptance_lengths)
    assert favourite(under.adapter) != favourite(None)


# -- what the draft sees ----------------------------------------------------------------------------------------------


def test_a_learning_draft_keeps_its_window(study: Study) -> None:
    """At a rate of nothing it proposes as one that does not learn."""
    spec, still = replace(SPEC, draft_window=3), replace(TTT, learns_from="generation", every=4, lr=1e-12)
    with learning(study.pair, still, answer_tokens=16, initial=study.initial.adapter) as learner:
        made = generate(study.pair, prompt_of(study.pair), spec, learner=learner, sample_names=[TASK])
    assert outcome(made) == outcome(study.records["window"])


def test_a_trace_shows_the_draft_with_its_window(study: Study) -> None:
    """What the draft says at slot 1 depends on what it may see."""
    record, trace = study.records["window"], study.traces["window"]
    unhindered = draft_logits(study, record.token_ids, study.initial.adapter).log_softmax(-1)
    slots = [(place, token) for place, token in enumerate(trace.tokens) if token.slot == 1 and token.draft is not None]
    shown = [token.draft.log_prob for _, token in slots if token.draft is not None]
    assert shown != pytest.approx([float(unhindered[place, token.token_id]) for place, token in slots], abs=1e-2)


# -- predict ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "guided"])
def test_predict_answers_as_test_does(study: Study, name: str) -> None:
    flags = (*STUDY, f"--ckpt_path={study.checkpoint}", f"--evaluator.decoding.seed={SEED}")
    arm = ARMS[name] if "ttt" in ARMS[name] else ARMS[name].replace("}", ", ttt: none}")
    one = "--trainer.limit_predict_batches=1"
    cli = study.commands("predict", *flags, f"--evaluator.answer_with={arm}", one, data=study.data)
    (record,) = load_records(log_dir(cli))
    assert outcome(record) == outcome(study.records[name])
