"""What a study compares, on which pair, and which records it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dftt.models.lora import Adapter
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.study.records import Key
from dftt.suites.conversation import later_turns
from dftt.suites.questions import Messages
from dftt.types import DecodingSpec, Prompt, Task, TTTSpec
from dftt.types.arms import Arm

NO_OTHER = "no other context: none of this study has another text"


class UnmeasurableError(ValueError):
    """An answer cannot be made; the message is the reason, for its record."""


@dataclass(frozen=True)
class Study:
    """What all contexts of a study have in common.

    Args:
        pair: Target and draft, without an adapter on the draft.
        arms: What is compared.
        decoding: Decoding settings that the arms share.
        ttt: Settings of test-time training that they share.
        seeds: Every task is decoded under each of them.
        initial: The adapter that every arm starts from: a checkpoint's, or none.
        generic: The generic adapter that rules of guidance may name; by default `initial`.
        amateur: Hub id or folder of the smaller model that contrastive rules need.
        rows: Answers of a context decoded side by side, where their arms differ in alpha alone; 1 decodes each alone.
        dtype: Name of the target's precision.
        precision: Class and setting of the trainer's precision, which all passes run in.
        allow_code_execution: Whether answers that are programs may be run.
        traced_tasks: Ids of the tasks whose answers are traced token by token (`dftt.study.traces`).
    """

    pair: Pair
    arms: tuple[Arm, ...]
    decoding: DecodingSpec
    ttt: TTTSpec
    seeds: tuple[int, ...] = (0,)
    initial: Adapter | None = None
    generic: Adapter | None = None
    amateur: str | None = None
    rows: int = 1
    dtype: str = "float32"
    precision: tuple[str, str] = ("Precision", "32-true")
    allow_code_execution: bool = False
    traced_tasks: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        # An arm that is matched to another's answers comes after it.
        object.__setattr__(self, "arms", tuple(sorted(self.arms, key=lambda arm: bool(arm.matched_to))))
        object.__setattr__(self, "generic", self.generic or self.initial)

    def arm(self, name: str) -> Arm:
        """The arm of an id."""
        return next(arm for arm in self.arms if arm.id == name)

    @cached_property
    def amateur_model(self) -> Target:
        """The amateur, on the target's device and in its precision; loaded when it is first asked for."""
        return Target.load(str(self.amateur), device=self.pair.target.device, dtype=self.dtype)


@dataclass(frozen=True)
class Contexts:
    """A context, and another one for arms that adapt to a wrong context.

    Args:
        other: None where no context of the study has another text; `other_id` is its id.
        problem: Why nothing can be measured on the context, empty where it can.
    """

    own: Prompt
    other: Prompt | None = None
    other_id: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Asked:
    """A task as it is put to the target, the same for all arms.

    Args:
        prompt: Its context_length is that of the context.
        messages: The task's without the context; empty where that cannot be told apart, or no arm needs it.
        question: These as a prompt, None where there are none.
        length: Tokens of all that the user says, answers left out.
    """

    task: Task
    prompt: Prompt
    messages: Messages = ()
    question: Prompt | None = None
    length: int = 0

    @property
    def turns(self) -> int:
        """How many answers the task asks for, one after another."""
        return 1 + len(later_turns(self.task))


@dataclass(frozen=True)
class Fingerprint:
    """Hash of all that decides a record, and hashes of its parts, which say what changed where it differs.

    Parts are settings (models, arithmetic, arm), prompt (tokens) and context (what else the arm reads or learns from);
    beside them stands what the prompt was made of: row (messages) and template.
    """

    whole: str
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """One record that is wanted: of a task, by an arm, under a seed."""

    asked: Asked
    arm: Arm
    seed: int
    fingerprint: Fingerprint

    @property
    def key(self) -> Key:
        """Key of the record."""
        return self.asked.task.task_id, self.arm.id, self.seed
