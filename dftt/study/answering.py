"""How one answer of a study is made: by what its arm's mode asks for, turn by turn and round by round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dftt.adaptation.ttt import Adaptation
from dftt.decoding.generate import HasAdapter, OnTokens
from dftt.decoding.guidance.rules import matched_temperature
from dftt.decoding.replay import TokenTrace
from dftt.decoding.sampling import sample_key
from dftt.models.lora import Adapter
from dftt.models.taps import tapped
from dftt.models.target import encode
from dftt.study import Arm
from dftt.study.adapting import ContextAdapter, Contexts, UnmeasurableError
from dftt.study.guiding import Guides
from dftt.study.recording import Part, Round
from dftt.suites.conversation import joined, later_turns, messages_after
from dftt.suites.copying import copied, passage
from dftt.types import DecodingSpec, Generation, Prefill, Prompt, Task
from dftt.types.methods import CopySpec


@dataclass(frozen=True)
class Scene:
    """What all answers on a context share.

    Args:
        contexts: The context, and another one.
        prefill: The context's prefill.
    """

    contexts: Contexts
    prefill: Prefill


class Answerer:
    """Makes answers.

    Args:
        adapter: Adapts to contexts; its module holds the pair.
        guides: Makes what rules of guidance need.
        decoding: Decoding settings that all arms share.
    """

    def __init__(self, adapter: ContextAdapter, guides: Guides, decoding: DecodingSpec) -> None:
        self.adapter, self.guides, self.decoding = adapter, guides, decoding
        self.module = adapter.module

    def spec_of(self, part: Part) -> DecodingSpec:
        """How a part is decoded, as far as its arm says."""
        return part.arm.decoding(self.decoding, seed=part.seed)

    def matched_spec(self, part: Part, scene: Scene, guided: Arm, tokens: Sequence[int]) -> DecodingSpec:
        """How a part is decoded whose arm is matched to a guided one.

        Args:
            part: The part.
            scene: Its context.
            guided: The guided arm.
            tokens: That arm's answer to the same task under the same seed; none where it has no answer.

        Raises:
            UnmeasurableError: There is no answer, it has several turns, or no temperature matches.
        """
        if not tokens or later_turns(part.task):
            why = "has several turns" if tokens else "is missing"
            raise UnmeasurableError(f"no temperature to be matched with: the answer of {guided.id} {why}")
        spec = guided.decoding(self.decoding, seed=part.seed)
        adaptation = self.adapter.decodes_under(guided, scene.contexts)
        materials = self.guides.materials(guided, scene.contexts, part.question)
        with tapped(self.module.pair.draft, guided.taps):
            forced = self.module.forced_logits(
                part.prompt,
                tokens,
                [spec.rule],
                adaptation=self._under(adaptation),
                materials=materials,
                prefill=scene.prefill,
                key=_key(part),
            )
        try:
            found = matched_temperature(forced.target, forced.guided[0], temperature=spec.temperature)
        except ValueError as error:
            raise UnmeasurableError(str(error)) from error
        return replace(self.spec_of(part), temperature=found)

    def rounds(
        self, part: Part, scene: Scene, spec: DecodingSpec, *, on_tokens: OnTokens | None = None
    ) -> Iterator[Round]:
        """The answer of each round; only the last one is streamed."""
        adaptation = self.adapter.decodes_under(part.arm, scene.contexts)
        for number in range(part.arm.rounds):
            last = number + 1 == part.arm.rounds
            made, said = self._round(part, scene, spec, adaptation, on_tokens if last else None)
            yield made
            if adaptation is not None and not last:
                adaptation = self.adapter.next_round(part.arm, number + 1, adaptation, said, scene.prefill)

    def is_alone(self, part: Part) -> bool:
        """Whether an answer is made of more than one pass of decoding, or depends on another."""
        return part.arm.is_alone(self.module.ttt) or bool(later_turns(part.task))

    def side_by_side(self, parts: Sequence[Part], scene: Scene, *, rows: int) -> list[Round]:
        """The answers of parts that differ in task and alpha alone, decoded in so many rows.

        They have no seconds: a share of those of a batch says nothing of what one of them takes.
        """
        arm, prompts = parts[0].arm, [part.prompt for part in parts]
        adaptation = self.adapter.decodes_under(arm, scene.contexts)
        materials = [self.guides.materials(part.arm, scene.contexts, part.question) for part in parts]
        questions = [question for each in materials if each is not None for question in each.without_context]
        with tapped(self.module.pair.draft, arm.taps):
            made = self.module.generate_all(
                prompts,
                self.spec_of(parts[0]),
                sample_names=[part.task.task_id for part in parts],
                adaptation=self._under(adaptation),
                prefill=scene.prefill,
                materials=replace(materials[0], without_context=questions) if materials[0] is not None else None,
                rows=rows,
                alphas=[part.arm.alpha for part in parts] if arm.mode == "guided" and arm.alpha != 0 else (),
            )
        return [Round(replace(generation, seconds=0.0), adaptation) for generation in made]

    def can_trace(self, part: Part) -> bool:
        """Whether one draft and one prompt stand behind all tokens of an answer, and draws of that draft alone."""
        on_policy = part.arm.learning(self.module.ttt) is not None
        return part.arm.baseline is None and not later_turns(part.task) and not on_policy

    def trace(self, part: Part, scene: Scene, spec: DecodingSpec, made: Round) -> tuple[TokenTrace, ...]:
        """What stands behind each token of an answer that can be traced."""
        materials = self.guides.materials(part.arm, scene.contexts, part.question)
        with tapped(self.module.pair.draft, part.arm.taps):
            return self.module.replay(
                part.prompt,
                spec,
                made.generation,
                adaptation=self._under(made.before),
                prefill=scene.prefill,
                materials=materials,
                key=_key(part),
            )

    def encode(self, task: Task, answers: Sequence[str] = ()) -> Prompt:
        """The prompt of a task, or of its turn after some answers."""
        if not answers:
            return Prompt(self.adapter.encode_messages(task.messages))
        return Prompt(tuple(encode(self.module.pair.target.tokenizer, messages_after(task, answers))))

    def _round(
        self, part: Part, scene: Scene, spec: DecodingSpec, adaptation: Adaptation | None, on_tokens: OnTokens | None
    ) -> tuple[Round, Prompt]:
        """An answer under an adaptation, which goes on while it is decoded where the arm learns from it; and all that
        was said: the last turn's prompt, which holds the turns before it, and its answer.
        """
        under, options = self._under(adaptation), {"on_tokens": on_tokens}
        ttt = part.arm.learning(self.module.ttt)
        if ttt is None:
            generation, said = self._answer(part, scene, spec, {**options, "adaptation": under})
            return Round(generation, adaptation), said
        if adaptation is not None:
            # Where memory ran out, the adapter has fewer modules than the arm asks for; it is led on as it is.
            ttt = replace(ttt, modules=adaptation.adapter.modules)
        tokens = spec.max_new_tokens * (1 + len(later_turns(part.task)))
        initial = under.adapter if under is not None else None
        with self.module.learning(ttt, answer_tokens=tokens, initial=initial) as learner:
            generation, said = self._answer(part, scene, spec, {**options, "learner": learner})
            return Round(generation, adaptation, learner.adaptation), said

    def _answer(
        self, part: Part, scene: Scene, spec: DecodingSpec, options: Mapping[str, Any]
    ) -> tuple[Generation, Prompt]:
        """The answer to a task, or all answers of a conversation, each turn after the model's own earlier answers; and
        all that was said.
        """
        prompt, question = part.prompt, part.question
        answers: list[Generation] = []
        while True:
            # A template may write the history of a later turn in other tokens than were read first.
            known = prompt.input_ids[: len(scene.prefill)] == scene.prefill.input_ids
            prefill = scene.prefill if known else None
            materials = self.guides.materials(part.arm, scene.contexts, question)
            with tapped(self.module.pair.draft, part.arm.taps):
                answers.append(self._turn(part, prompt, spec, {**options, "prefill": prefill, "materials": materials}))
            if len(answers) > len(later_turns(part.task)):
                return joined(answers), Prompt(prompt.input_ids + answers[-1].token_ids)
            said = [each.text for each in answers]
            prompt = self.encode(part.task, said)
            question = None if question is None else self.encode(replace(part.task, messages=part.asked), said)

    def _turn(self, part: Part, prompt: Prompt, spec: DecodingSpec, options: dict[str, Any]) -> Generation:
        name, method = part.task.task_id, part.arm.baseline
        if method is None:
            return self.module.generate(prompt, spec, sample_names=[name], **options)
        on_tokens: OnTokens | None = options.pop("on_tokens")
        if isinstance(method, CopySpec):
            made = self._copied(part.task, method)
        else:
            made = self.module.generate_by(prompt, spec, method, sample_name=name, **options)
        if on_tokens is not None:
            on_tokens(0, list(made.token_ids))
        return made

    def _copied(self, task: Task, spec: CopySpec) -> Generation:
        """A part of the task's passage as an answer that took no pass and no time."""
        text = passage(task)
        if not text:
            raise UnmeasurableError("no passage to copy: the task has none, or does not say what its question is")
        answer, tokens = copied(text, spec, self.module.pair.target.tokenizer)
        return Generation(answer, tokens, (), "length", target_calls=0, seconds=0.0)

    def _under(self, adaptation: Adaptation | None) -> HasAdapter | None:
        """The adaptation; without one of its own, an arm still decodes under the adapter that a checkpoint brought."""
        initial = self.adapter.initial
        return adaptation or (_Carrier(initial) if initial is not None else None)


@dataclass(frozen=True)
class _Carrier:
    """An adapter where decoding expects an adaptation."""

    adapter: Adapter
    study: tuple[tuple[int, ...], ...] = ()


def _key(part: Part) -> int:
    """The sample key that `generate` makes of seed and task."""
    return sample_key(part.seed, part.task.task_id)
