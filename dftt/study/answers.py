"""How an answer of a study is made: by what its arm's mode asks for, round by round and turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dftt.adaptation.online import learning
from dftt.decoding.forced import forced_logits
from dftt.decoding.generate import Adapted, OnTokens, generate
from dftt.decoding.guidance.rules import matched_temperature
from dftt.decoding.methods import generate_by
from dftt.decoding.on_policy import Learner
from dftt.decoding.replay import TokenTrace, replay
from dftt.decoding.sampling import sample_key
from dftt.models.draft import tapped
from dftt.models.lora import Adaptation
from dftt.study.adapters import Adapters
from dftt.study.prompts import Prompts
from dftt.study.results import Answer, Round
from dftt.study.spec import NO_OTHER, Contexts, Part, Study, UnmeasurableError
from dftt.suites.conversation import joined
from dftt.suites.copying import copied, passage
from dftt.types import DecodingSpec, Generation, Prefill, Prompt
from dftt.types.methods import Baseline, CopySpec


@dataclass(frozen=True)
class Way:
    """How a round of an answer is decoded: under an adapter, or with a learner, which has put its own on the draft."""

    spec: DecodingSpec
    under: Adapted = None
    learner: Learner | None = None
    on_tokens: OnTokens | None = None


class Answers:
    """Makes the answers of a study."""

    def __init__(self, study: Study, prompts: Prompts, adapters: Adapters) -> None:
        self.study, self.prompts, self.adapters = study, prompts, adapters

    def answer(
        self, part: Part, contexts: Contexts, *, matched: Sequence[int] = (), on_tokens: OnTokens | None = None
    ) -> Answer:
        """The answer of a part; its last round is streamed.

        Where its arm is matched to a guided one, `matched` is the answer of that one to the same task and seed.
        """
        arm, rounds = part.arm, list[Round]()
        spec = self._matched_spec(part, contexts, matched) if arm.matched_to else self._spec_of(part)
        adaptation = self.adapters.before_answer(arm, contexts)
        for number in range(1, arm.rounds + 1):
            last = number == arm.rounds
            made, said = self._round(part, contexts, spec, adaptation, on_tokens if last else None)
            rounds.append(made)
            if adaptation is not None and not last:
                known = self.adapters.prefill(contexts.own)
                adaptation = self.adapters.next_round(arm, number, adaptation, said, known)
        return Answer(spec, rounds)

    def is_alone(self, part: Part) -> bool:
        """Whether an answer is made of more than one pass of decoding, or depends on another."""
        return part.arm.is_alone(self.study.ttt) or part.asked.turns > 1

    def side_by_side(self, parts: Sequence[Part], contexts: Contexts) -> list[Answer]:
        """The answers of parts that differ in task and alpha alone, decoded in as many rows as the study says.

        They have no seconds: a share of the seconds of a batch is not what one of its answers takes.
        """
        arm = parts[0].arm
        materials = [self.adapters.materials(part.arm, contexts, part.asked.question) for part in parts]
        questions = [question for each in materials if each is not None for question in each.without_context]
        adaptation = self.adapters.before_answer(arm, contexts)
        with tapped(self.study.pair.draft, arm.taps):
            made = generate(
                self.study.pair,
                [part.asked.prompt for part in parts],
                self._spec_of(parts[0]),
                sample_names=[part.asked.task.task_id for part in parts],
                adaptation=adaptation or self.study.initial,
                prefill=self.adapters.prefill(contexts.own),
                materials=replace(materials[0], without_context=questions) if materials[0] is not None else None,
                rows=self.study.rows,
                alphas=[part.arm.alpha for part in parts] if arm.mode == "guided" and arm.alpha != 0 else (),
            )
        rounds = [Round(replace(generation, seconds=0.0), adaptation) for generation in made]
        return [Answer(self._spec_of(part), [each]) for part, each in zip(parts, rounds, strict=True)]

    def can_trace(self, part: Part) -> bool:
        """Whether one draft and one prompt stand behind all tokens of an answer, and draws of that draft alone."""
        on_policy = part.arm.learning(self.study.ttt) is not None
        return part.arm.baseline is None and part.asked.turns == 1 and not on_policy

    def trace(self, part: Part, contexts: Contexts, answer: Answer) -> tuple[TokenTrace, ...]:
        """The distributions behind each token of an answer that can be traced."""
        last = answer.rounds[-1]
        materials = self.adapters.materials(part.arm, contexts, part.asked.question)
        with tapped(self.study.pair.draft, part.arm.taps):
            return replay(
                self.study.pair,
                part.asked.prompt,
                answer.spec,
                last.generation,
                adaptation=last.before or self.study.initial,
                prefill=self.adapters.prefill(contexts.own),
                materials=materials,
                key=sample_key(part.seed, part.asked.task.task_id),
            )

    def _spec_of(self, part: Part) -> DecodingSpec:
        return part.arm.decoding(self.study.decoding, seed=part.seed)

    def _matched_spec(self, part: Part, contexts: Contexts, tokens: Sequence[int]) -> DecodingSpec:
        """How a part is decoded whose arm is matched to a guided arm, which has answered with these tokens."""
        guided = self.study.arm(part.arm.matched_to)
        if not tokens or part.asked.turns > 1:
            why = "has several turns" if tokens else "is missing"
            raise UnmeasurableError(f"no temperature to be matched with: the answer of {guided.id} {why}")
        spec = guided.decoding(self.study.decoding, seed=part.seed)
        adaptation = self.adapters.before_answer(guided, contexts)
        materials = self.adapters.materials(guided, contexts, part.asked.question)
        with tapped(self.study.pair.draft, guided.taps):
            forced = forced_logits(
                self.study.pair,
                part.asked.prompt,
                tokens,
                [spec.rule],
                spec,
                adaptation=adaptation or self.study.initial,
                materials=materials,
                prefill=self.adapters.prefill(contexts.own),
                key=sample_key(part.seed, part.asked.task.task_id),
            )
        try:
            found = matched_temperature(forced.target, forced.guided[0], temperature=spec.temperature)
        except ValueError as error:
            raise UnmeasurableError(str(error)) from error
        return replace(self._spec_of(part), temperature=found)

    def _round(
        self,
        part: Part,
        contexts: Contexts,
        spec: DecodingSpec,
        adaptation: Adaptation | None,
        on_tokens: OnTokens | None,
    ) -> tuple[Round, Prompt]:
        """An answer under an adaptation, which goes on while it is decoded where the arm learns from it; and all that
        was said: the last turn's prompt, which holds the turns before it, and its answer.
        """
        ttt = part.arm.learning(self.study.ttt)
        # Without an adaptation of its own, an arm still decodes under the adapter that a checkpoint brought.
        under = adaptation or self.study.initial
        if ttt is None:
            generation, said = self._turns(part, contexts, Way(spec, under, on_tokens=on_tokens))
            return Round(generation, adaptation), said
        initial = self.study.initial
        if adaptation is not None:
            initial = adaptation.adapter
            # Where memory ran out, the adapter has fewer modules than the arm asks for; it is led on as it is.
            ttt = replace(ttt, modules=initial.modules)
        tokens = spec.max_new_tokens * part.asked.turns
        with learning(self.study.pair, ttt, answer_tokens=tokens, initial=initial) as learner:
            generation, said = self._turns(part, contexts, Way(spec, learner=learner, on_tokens=on_tokens))
            return Round(generation, adaptation, learner.adaptation), said

    def _turns(self, part: Part, contexts: Contexts, way: Way) -> tuple[Generation, Prompt]:
        """The answer to a task, or all answers of a conversation, each turn after the model's own earlier answers; and
        all that was said.
        """
        asked, pair = part.asked, self.study.pair
        prompt, question = asked.prompt, asked.question
        prefill = self.adapters.prefill(contexts.own)
        answers: list[Generation] = []
        while True:
            # A template may write the history of a later turn in other tokens than were read first.
            known = prefill if prompt.input_ids[: len(prefill)] == prefill.input_ids else None
            materials = self.adapters.materials(part.arm, contexts, question)
            with tapped(pair.draft, part.arm.taps):
                if (method := part.arm.baseline) is not None:
                    answers.append(self._by_baseline(part, method, prompt, way, known))
                else:
                    made = generate(
                        pair,
                        prompt,
                        way.spec,
                        sample_names=[part.asked.task.task_id],
                        adaptation=way.under,
                        prefill=known,
                        materials=materials,
                        learner=way.learner,
                        on_tokens=way.on_tokens,
                    )
                    answers.append(made)
            if len(answers) == asked.turns:
                return joined(answers), Prompt(prompt.input_ids + answers[-1].token_ids)
            said = [each.text for each in answers]
            prompt = self.prompts.after(asked.task, said)
            if question is not None:
                question = self.prompts.after(replace(asked.task, messages=asked.messages), said)

    def _by_baseline(
        self, part: Part, method: Baseline, prompt: Prompt, way: Way, prefill: Prefill | None
    ) -> Generation:
        name = part.asked.task.task_id
        if isinstance(method, CopySpec):
            text = passage(part.asked.task)
            if not text:
                raise UnmeasurableError("no passage to copy: the task has none, or does not say what its question is")
            answer, tokens = copied(text, method, self.study.pair.target.tokenizer)
            made = Generation(answer, tokens, (), "length", target_calls=0, seconds=0.0)  # took no pass and no time
        else:
            made = generate_by(
                self.study.pair, prompt, way.spec, method, adaptation=way.under, prefill=prefill, sample_name=name
            )
        if way.on_tokens is not None:
            way.on_tokens(0, list(made.token_ids))
        return made


def problem_of(study: Study, part: Part, contexts: Contexts) -> str:
    """Why an answer cannot be made, as far as that is known beforehand; empty where nothing speaks against it."""
    if contexts.problem:
        return contexts.problem
    arm, sources, length = part.arm, part.arm.sources, part.asked.length
    window, other = study.pair.target.window, contexts.other
    with_answers = length + study.decoding.max_new_tokens * part.asked.turns
    if with_answers > window:
        return f"context too long: {length} tokens for a window of {window}"
    if arm.needs_other_context and other is None:
        return NO_OTHER
    if arm.needs_other_context and other is not None and len(other) > window:
        return f"wrong context {contexts.other_id} too long: {len(other)} tokens for a window of {window}"
    if "without_context" in sources and part.asked.question is None:
        return (
            "no prompt without context: the task has none, or its question cannot be told apart from it, or the "
            "chat template refuses the question alone"
        )
    if "generic" in sources and study.generic is None:
        return "no generic adapter: the checkpoint's adapter has learnt nothing yet"
    if "amateur" in sources and with_answers > study.amateur_model.window:
        return f"context too long: {with_answers} tokens for the amateur's window of {study.amateur_model.window}"
    return ""
