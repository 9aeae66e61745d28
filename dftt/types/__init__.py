"""The frozen dataclasses that cross rooms. They carry data and check themselves; nothing here computes.

Letters in shape comments: R rows, T tokens, N anchors, K block size (anchor included), D hidden size of the target,
L tapped layers, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from dftt.types.checks import check_fields, finite, is_finite, token_ids, whole
from dftt.types.guidance import GuidanceSpec
from dftt.types.learning import LORA_MODULES, LOSSES, LossName, TrainingSpec, TTTSpec, check_lora

__all__ = ["LORA_MODULES", "LOSSES", "GuidanceSpec", "LossName", "TTTSpec", "TrainingSpec", "check_lora"]  # and below

Mode = Literal["target", "speculative", "guided"]
MODES: tuple[str, ...] = get_args(Mode)
DrafterName = Literal["draft", "lookup", "hybrid"]
LEAST_TEMPERATURE = 1e-6  # logits over less could be infinite, and the first infinity would be drawn


@dataclass(frozen=True)
class Prompt:
    """Token ids given to the target, and how many of the first ones are the context that adaptation may see.

    Args:
        input_ids: The prompt's token ids, at least one.
        context_length: Number of leading tokens that form the context; all of them where not given.
    """

    input_ids: tuple[int, ...]
    context_length: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_ids", token_ids("prompt", self.input_ids))
        if not self.input_ids:
            raise ValueError("prompt is empty: give at least one token")
        if self.context_length == -1:
            object.__setattr__(self, "context_length", len(self.input_ids))
        whole("context_length", self.context_length)
        if not 0 < self.context_length <= len(self.input_ids):
            raise ValueError(
                f"context_length must be between 1 and the prompt's {len(self.input_ids)} tokens, "
                f"got {self.context_length}"
            )

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Prefill:
    """What one target pass over a prompt leaves behind: all that adaptation and decoding need of the target.

    Args:
        input_ids: The tokens that were read, (T,).
        features: Hidden states of the tapped layers, concatenated, (T, L*D).
        hidden: Final hidden states, after the last norm; the head turns them into logits, (T, D).
        keys: One (kv_heads, T, head_dim) tensor per target layer.
        values: As keys.
        seconds: Wall-clock time of the pass.
    """

    input_ids: tuple[int, ...]
    features: Tensor
    hidden: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.input_ids)

    def first(self, count: int) -> Prefill:
        """The prefill of the first `count` tokens, views of this one."""
        return replace(
            self,
            input_ids=self.input_ids[:count],
            features=self.features[:count],
            hidden=self.hidden[:count],
            keys=tuple(each[:, :count] for each in self.keys),
            values=tuple(each[:, :count] for each in self.values),
        )


@dataclass(frozen=True)
class DecodingSpec:
    """How tokens are made.

    Args:
        mode: target (plain autoregression), speculative (lossless) or guided (the draft steers the target).
        max_new_tokens: Exact upper bound on new tokens; fewer only when an end-of-sequence token is drawn.
        temperature: 0 is greedy.
        top_p: Keep the smallest set of tokens whose probabilities reach top_p; 1 keeps all.
        top_k: Keep the top_k most likely tokens; 0 keeps all.
        alpha: Guidance weight: logits = target + alpha * (draft - target). Used by mode guided only.
        guidance: Any other rule of guidance, with its own alpha; not together with alpha. Used by mode guided only.
        block_size: Block size to decode with, anchor included; 0 takes the draft's own.
        verify_size: Positions verified per guided cycle; 1 is the token-by-token reference loop, 0 takes block_size.
        drafter: What proposes in mode speculative: the draft, lookup (what followed the last few tokens where they
            occurred before in answer or prompt) or hybrid (both, verified in one pass; the longer one is kept).
        lookup_suffix: Most tokens of a suffix that is looked up.
        lookup_study: Look suffixes up in the texts of self-study too, after answer and prompt.
        draft_window: The draft sees what is less than so many positions before a slot; 0 lets it see all.
        draft_sinks: First positions of the context that it sees nonetheless.
        seed: Seeds the position-keyed noise; the same seed gives the same tokens in target and speculative mode.
        eos_token_ids: Tokens that end a row; empty takes the target's own.
        ignore_eos: Decode all max_new_tokens whatever is drawn (for measurements).
    """

    mode: Mode = "speculative"
    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    alpha: float = 0.0
    guidance: GuidanceSpec | None = None
    block_size: int = 0
    verify_size: int = 0
    drafter: DrafterName = "draft"
    lookup_suffix: int = 6
    lookup_study: bool = False
    draft_window: int = 0
    draft_sinks: int = 0
    seed: int = 0
    eos_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        least = {"max_new_tokens": 1, "lookup_suffix": 1, "draft_window": 0, "draft_sinks": 0, "top_k": 0}
        check_fields("decoding", self, **least, verify_size=0, block_size=2 if self.block_size else 0)
        object.__setattr__(self, "eos_token_ids", token_ids("decoding.eos_token_ids", self.eos_token_ids))
        self._check_drafter()
        if not (is_finite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"decoding.temperature must be finite and >= 0, got {self.temperature!r}")
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise ValueError(
                f"decoding.temperature must be 0 (greedy) or at least {LEAST_TEMPERATURE:g}, got {self.temperature}"
            )
        if not (is_finite(self.top_p) and 0 < self.top_p <= 1):
            raise ValueError(f"decoding.top_p must be in (0, 1], got {self.top_p}")
        finite("decoding.alpha", self.alpha)
        if self.guidance is not None and self.alpha != 0:
            raise ValueError(
                f"decoding.alpha is {self.alpha} and decoding.guidance is given too: write the weight as "
                "decoding.guidance.alpha and leave decoding.alpha at 0"
            )

    def _check_drafter(self) -> None:
        if self.drafter != "draft" and self.mode == "guided":
            raise ValueError(f"decoding.drafter {self.drafter} needs mode speculative, got mode guided; use draft")
        if self.lookup_study and self.drafter == "draft":
            raise ValueError("decoding.lookup_study needs decoding.drafter lookup or hybrid, got draft")
        if self.draft_sinks and not self.draft_window:
            raise ValueError(f"decoding.draft_sinks {self.draft_sinks} need a decoding.draft_window, got 0")

    @property
    def rule(self) -> GuidanceSpec:
        """What mode guided follows: `guidance`, or plain interpolation by `alpha`."""
        return self.guidance or GuidanceSpec(alpha=self.alpha)


@dataclass(frozen=True)
class Generation:
    """One decoded row.

    Args:
        text: Decoded new tokens, special tokens skipped.
        token_ids: New tokens, the end-of-sequence token included where one was drawn.
        acceptance_lengths: Tokens committed by each verify step (accepted proposals + 1), the last one at its full
            length even when the text was cut there. The token drawn from the prefill belongs to no step in modes target
            and speculative.
        finish_reason: "eos" or "length".
        target_calls: Target passes after the prefill.
        seconds: Wall-clock time of the cycles it took part in, prefill and learning excluded; rows decoded together
            share it.
    """

    text: str
    token_ids: tuple[int, ...]
    acceptance_lengths: tuple[int, ...]
    finish_reason: Literal["eos", "length"]
    target_calls: int
    seconds: float

    @property
    def tau(self) -> float:
        """Committed tokens per verify step, bonus token included; NaN where there was no step."""
        return sum(self.acceptance_lengths) / len(self.acceptance_lengths) if self.acceptance_lengths else math.nan


@dataclass(frozen=True)
class Task:
    """One question on a context, in the terms of CL-bench."""

    task_id: str  # unique within a suite
    context_id: str  # tasks of the same one share a context, hence one prefill and one adaptation
    messages: tuple[Mapping[str, str], ...]  # {"role", "content"}, context and question together
    rubrics: tuple[Any, ...] = ()  # a string for a judge, or a checkable mapping ({"type": "contains", ...})
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what else the row said: category, answer ...
    question: str = ""  # as one would ask it without the context; empty where the row does not say


@dataclass(frozen=True)
class Score:
    """A judgement, or the reason why there is none."""

    passed: bool | None  # all rubrics fulfilled; None is unscored, which is not a zero
    statuses: tuple[bool, ...] = ()  # per rubric, in order; empty where unscored
    explanation: str = ""  # the judge's rationale, or what went wrong
    judge: str = ""  # who judged, and under which prompt version; empty for a program
    judge_overall: bool | None = None  # as the judge itself gave it; `passed` is recomputed from the statuses


@dataclass(frozen=True)
class Record:
    """One (task, arm, seed): enough to score and report again without a model; fields without a note are as in
    Generation and Score.
    """

    task_id: str
    context_id: str
    arm: str  # its id, such as "speculative+own"
    seed: int  # of decoding
    spec_hash: str  # of everything that determines the result; the record counts as done only while it is equal
    answer: str = ""  # decoded text
    token_ids: tuple[int, ...] = ()
    acceptance_lengths: tuple[int, ...] = ()
    finish_reason: str = ""  # "eos", "length" or "error"
    seconds: float = 0.0  # of decoding; 0 where several answers were decoded side by side
    target_calls: int = 0
    prompt_tokens: int = 0
    passed: bool | None = None
    statuses: tuple[bool, ...] = ()
    explanation: str = ""
    judge: str = ""
    judge_overall: bool | None = None
    rubrics: tuple[Any, ...] = ()  # the task's, so that the answer can be scored again
    adaptation: Mapping[str, Any] = field(default_factory=dict)  # steps, seconds, losses, settings; empty without one
    metadata: Mapping[str, Any] = field(default_factory=dict)  # the task's, and whatever a suite adds
    hashes: Mapping[str, str] = field(default_factory=dict)  # of the parts that spec_hash is made of

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes a record unique in a study: (task, arm, seed)."""
        return self.task_id, self.arm, self.seed

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary that json can write; `from_json` reads it back to an equal record."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Record:
        """Record of a row written by `to_json`; raises ValueError naming a missing or unknown key."""
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(row) - known):
            raise ValueError(f"record has unknown keys {unknown}; known are {sorted(known)}")
        if missing := [key for key in ("task_id", "context_id", "arm", "seed", "spec_hash") if key not in row]:
            raise ValueError(f"record lacks {missing}")
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        return cls(**given)


def check_file(name: str, path: str | Path) -> Path:
    """The path, or a ValueError saying which setting names a file that is missing or cannot be read."""
    try:
        if Path(path).is_file():
            Path(path).open("rb").close()
            return Path(path)
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be read ({error.strerror})") from None
    raise ValueError(f"{name}: no file at {path}")
