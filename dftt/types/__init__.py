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

from dftt.types.checks import finite, is_finite, of_declared_types, one_of, token_ids, whole
from dftt.types.guidance import GuidanceSpec
from dftt.types.learning import LORA_MODULES, LOSSES, LossName, TrainingSpec, TTTSpec, check_lora

__all__ = [
    "DRAFTERS",
    "LORA_MODULES",
    "LOSSES",
    "MODES",
    "DecodingSpec",
    "DrafterName",
    "Generation",
    "GuidanceSpec",
    "LossName",
    "Mode",
    "Prefill",
    "Prompt",
    "Record",
    "Score",
    "TTTSpec",
    "Task",
    "TrainingSpec",
    "check_file",
    "check_lora",
]

Mode = Literal["target", "speculative", "guided"]
MODES: tuple[str, ...] = ("target", "speculative", "guided")
DrafterName = Literal["draft", "lookup", "hybrid"]
DRAFTERS: tuple[str, ...] = get_args(DrafterName)
LEAST_TEMPERATURE = 1e-6  # logits over less could be infinite, and the first infinity would be drawn
_TUPLES = ("token_ids", "acceptance_lengths", "statuses", "rubrics")  # of a record; JSON knows lists only


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
        of_declared_types("decoding", self)
        object.__setattr__(self, "eos_token_ids", token_ids("decoding.eos_token_ids", self.eos_token_ids))
        one_of("decoding.mode", self.mode, MODES)
        whole("decoding.max_new_tokens", self.max_new_tokens, 1)
        one_of("decoding.drafter", self.drafter, DRAFTERS)
        whole("decoding.lookup_suffix", self.lookup_suffix, 1)
        whole("decoding.draft_window", self.draft_window, 0)
        whole("decoding.draft_sinks", self.draft_sinks, 0)
        self._check_drafter()
        whole("decoding.top_k", self.top_k, 0)
        whole("decoding.verify_size", self.verify_size, 0)
        if self.block_size != 0:
            whole("decoding.block_size", self.block_size, 2)
        whole("decoding.seed", self.seed)
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
    """One question on a context, in the terms of CL-bench.

    Args:
        task_id: Unique within a suite.
        context_id: Tasks with the same id share a context, hence one prefill and one adaptation.
        messages: Chat messages ({"role", "content"}), context and question together.
        rubrics: What a good answer fulfils; a string for a judge, or a checkable mapping ({"type": "contains", ...}).
        metadata: Anything else the row said: category, sub-category, answer ...
        question: What is asked, as one would ask it without the context; empty where the row does not say.
    """

    task_id: str
    context_id: str
    messages: tuple[Mapping[str, str], ...]
    rubrics: tuple[Any, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""


@dataclass(frozen=True)
class Score:
    """A judgement, or the reason why there is none.

    Args:
        passed: All rubrics fulfilled; None means unscored, which is not a zero.
        statuses: Per rubric, in order; empty where unscored.
        explanation: Why: the judge's rationale, or what went wrong.
        judge: Who judged, and under which prompt version; empty for a program.
        judge_overall: The overall score as the judge itself gave it; `passed` is recomputed from the statuses.
    """

    passed: bool | None
    statuses: tuple[bool, ...] = ()
    explanation: str = ""
    judge: str = ""
    judge_overall: bool | None = None


@dataclass(frozen=True)
class Record:
    """One (task, arm, seed): enough to re-score and re-report without a model.

    Args:
        task_id: The task.
        context_id: Its context.
        arm: Stable id of the arm, such as "speculative+own".
        seed: Decoding seed.
        spec_hash: Hash of everything that determines the result; a record counts as done only while it is equal.
        answer: Decoded text.
        token_ids: New tokens.
        acceptance_lengths: As in Generation.
        finish_reason: "eos", "length" or "error".
        seconds: Decoding time; 0 where several answers were decoded side by side.
        target_calls: Target passes.
        prompt_tokens: Length of the prompt.
        passed: As in Score; None is unscored.
        statuses: As in Score.
        explanation: As in Score.
        judge: As in Score.
        judge_overall: As in Score.
        rubrics: The task's, so that the answer can be scored again.
        adaptation: Steps, seconds, peak bytes, losses and settings of the adaptation; empty without one.
        metadata: The task's metadata (category ...), and whatever a suite adds.
        hashes: Of the parts that spec_hash is made of (`dftt.study.spec.Fingerprint`), to say what changed where it
            differs; empty in records of older versions.
    """

    task_id: str
    context_id: str
    arm: str
    seed: int
    spec_hash: str
    answer: str = ""
    token_ids: tuple[int, ...] = ()
    acceptance_lengths: tuple[int, ...] = ()
    finish_reason: str = ""
    seconds: float = 0.0
    target_calls: int = 0
    prompt_tokens: int = 0
    passed: bool | None = None
    statuses: tuple[bool, ...] = ()
    explanation: str = ""
    judge: str = ""
    judge_overall: bool | None = None
    rubrics: tuple[Any, ...] = ()
    adaptation: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

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
        missing = [key for key in ("task_id", "context_id", "arm", "seed", "spec_hash") if key not in row]
        if missing:
            raise ValueError(f"record lacks {missing}")
        tuples = {key: tuple(row[key]) for key in _TUPLES if key in row}
        return cls(**{**row, **tuples})


def check_file(name: str, path: str | Path) -> Path:
    """The path, or a ValueError saying which setting names a file that is missing or cannot be read."""
    try:
        if Path(path).is_file():
            Path(path).open("rb").close()
            return Path(path)
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be read ({error.strerror})") from None
    raise ValueError(f"{name}: no file at {path}")
