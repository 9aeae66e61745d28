"""Under which adapter a study adapts, decodes, compares and judges: what each call is given, in every kind of arm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import dftt.decoding.baselines.rerank
import dftt.study.adapters
import dftt.study.answers
from tests.commands import Commands

SHORT = ("--evaluator.decoding.max_new_tokens=4", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
Calls = list[tuple[tuple[Any, ...], dict[str, Any], Any]]


@contextmanager
def calls_of(owner: Any, name: str, seen: Callable[..., Any] = lambda *_, **__: None) -> Iterator[Calls]:
    """Arguments, options and result of each call of a function, and in place of the result what `seen` makes of it."""
    calls: Calls = []
    function = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        note = seen(*arguments, **options)
        made = function(*arguments, **options)
        calls.append((arguments, options, made if note is None else note))
        return made

    with patch.object(owner, name, call):
        yield calls


def arms(*given: str, baseline: str) -> tuple[str, str]:
    return f"--evaluator.arms=[{', '.join(given)}]", f"--evaluator.baseline={baseline}"


def test_a_later_round_goes_on_from_the_one_before(commands: Commands) -> None:
    flags = arms("{mode: speculative, ttt: own, rounds: 2}", baseline="speculative+own,rounds=2")
    data = commands.contexts("rules", tasks=1)
    with (
        calls_of(dftt.study.adapters, "ttt_adapt") as adapted,
        calls_of(dftt.study.answers, "generate") as generated,
    ):
        commands("test", *SHORT, "--model.ttt.steps=4", *flags, data=data)
    (_, first, one), (said, second, two) = adapted
    assert first["initial"] is None
    assert second["initial"] is one.adapter
    (prompt, _, answer), (_, last, _) = generated
    assert said[1].input_ids == prompt[1].input_ids + answer.token_ids
    assert said[1].context_length == len(said[1].input_ids)
    assert last["adaptation"] is two


def test_learning_from_an_answer_leads_the_adapter_on(commands: Commands) -> None:
    both = "{mode: speculative, ttt: own, ttt_overrides: {learns_from: context+generation, every: 4, steps: 4}}"
    name = "speculative+own,steps=4,learns_from=context+generation,every=4"
    with (
        calls_of(dftt.study.adapters, "ttt_adapt") as adapted,
        calls_of(dftt.study.answers, "learning") as learnt,
    ):
        longer = "--evaluator.decoding.max_new_tokens=12"
        commands("test", *SHORT, longer, *arms(both, baseline=name), data=commands.contexts("rules", tasks=1))
    ((_, options, _),) = learnt
    assert options["initial"] is adapted[0][2].adapter


def test_masked_taps_are_masked_while_adapting_and_decoding(commands: Commands) -> None:
    flags = arms("{mode: speculative, ttt: own, taps: deep}", baseline="speculative+own,taps=deep")
    masked = lambda pair, *_, **__: pair.draft.kept_features.tolist()  # noqa: E731
    with (
        calls_of(dftt.study.adapters, "ttt_adapt", masked) as adapted,
        calls_of(dftt.study.answers, "generate", masked) as generated,
    ):
        commands("test", *SHORT, "--model.ttt.steps=1", *flags, data=commands.contexts("rules", tasks=1))
    for calls in (adapted, generated):
        (kept,) = [note for _, _, note in calls]
        assert kept[0] == 0.0
        assert kept[-1] == 1.0


def test_a_temperature_is_matched_under_the_guided_arms_adapter(commands: Commands) -> None:
    guided = "{mode: guided, alpha: 0.3, ttt: own}"
    flags = arms(guided, "{mode: target, matched_to: guided@0.3+own}", baseline="guided@0.3+own")
    with (
        calls_of(dftt.study.adapters, "ttt_adapt") as adapted,
        calls_of(dftt.study.answers, "forced_logits") as forced,
    ):
        warm = ("--evaluator.decoding.temperature=0.7", "--evaluator.decoding.draft_window=5")
        commands("test", *SHORT, *warm, "--model.ttt.steps=1", *flags, data=commands.contexts("rules", tasks=1))
    (((*_, spec), options, _),) = forced
    assert options["adaptation"] is adapted[0][2]
    assert spec.draft_window == 5


def test_arms_without_ttt_decode_under_a_checkpoints_adapter(commands: Commands) -> None:
    checkpoint = f"--ckpt_path={commands.checkpoint('--model.ttt.steps=2', '--model.ttt.lr=0.02')}"
    flags = arms("{mode: speculative}", "{mode: guided, alpha: 0.3}", baseline="speculative+none")
    with calls_of(dftt.study.answers, "generate") as generated:
        cli = commands("test", *SHORT, checkpoint, *flags, data=commands.contexts("rules", tasks=1))
    assert cli.model.adapter is not None
    assert [options["adaptation"] for _, options, _ in generated] == [cli.model.adapter] * 2


def test_the_draft_reranks_under_its_adapter(commands: Commands) -> None:
    arm = "{mode: rerank, ttt: own, temperature: 0.7, parameters: {samples: 2}}"
    flags = arms(arm, baseline="rerank+own,T=0.7,rerank.samples=2")
    with (
        calls_of(dftt.study.adapters, "ttt_adapt") as adapted,
        calls_of(dftt.decoding.baselines.rerank, "forced_logits") as judged,
    ):
        commands("test", *SHORT, "--model.ttt.steps=1", *flags, data=commands.contexts("rules", tasks=1))
    assert [options["adaptation"] for _, options, _ in judged] == [adapted[0][2]] * 2
