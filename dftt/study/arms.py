"""Arms: what is compared on equal prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from dftt.types import MODES, DecodingSpec, GuidanceSpec, Mode, TTTSpec

Source = Literal["none", "own", "wrong", "shuffled"]
SOURCES: tuple[str, ...] = ("none", "own", "wrong", "shuffled")
TapName = Literal["all", "shallow", "deep"]
TAP_NAMES: tuple[str, ...] = ("all", "shallow", "deep")
TTT_SETTINGS: tuple[str, ...] = tuple(each.name for each in fields(TTTSpec))


@dataclass(frozen=True)
class Arm:
    """One setting of a study; what it leaves out is the study's own.

    Args:
        mode: target, speculative or guided.
        ttt: What the draft was adapted to: none, own (the task's context), wrong (another context: the control) or
            shuffled (the context's own tokens in random order: another control).
        alpha: Guidance weight, for mode guided.
        temperature: Instead of decoding.temperature.
        top_p: Instead of decoding.top_p.
        guidance: Rule of mode guided and its parameters, {rule: name, ...}; empty: target + alpha (draft - target).
        ttt_overrides: Settings of model.ttt that this arm has instead, such as {steps: 10, lr: 1.0e-4}.
        taps: Tapped layers that the draft sees: all, shallow (those before the middle), deep (those behind it), or the
            place of a single one, 0 the shallowest. The others read as zero, in adaptation and decoding alike.
        rounds: Generate, adapt to context and answer, and generate again, so many times in all; each round has its
            share of ttt.steps, so that arms of equal steps can be compared.
    """

    mode: Mode = "speculative"
    ttt: Source = "none"
    alpha: float = 0.0
    temperature: float | None = None
    top_p: float | None = None
    guidance: dict[str, Any] = field(default_factory=dict)
    ttt_overrides: dict[str, Any] = field(default_factory=dict)
    taps: TapName | int = "all"
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"arm: unknown mode {self.mode!r}; choose from {', '.join(MODES)}")
        if self.ttt not in SOURCES:
            raise ValueError(f"arm: unknown ttt {self.ttt!r}; choose from {', '.join(SOURCES)}")
        if self.mode == "target" and self.ttt != "none":
            raise ValueError(f"arm: mode target never looks at the draft, so ttt {self.ttt!r} has no meaning; use none")
        if self.mode != "guided" and (self.alpha != 0 or self.guidance):
            name, value = ("guidance", self.guidance) if self.guidance else ("alpha", self.alpha)
            raise ValueError(f"arm: {name} {value} needs mode guided, got mode {self.mode}")
        self._check_adaptation()
        self._check_taps()
        self.decoding(DecodingSpec())  # refuses values that are none

    def _check_adaptation(self) -> None:
        if unknown := sorted(set(self.ttt_overrides) - set(TTT_SETTINGS)):
            raise ValueError(f"arm: unknown setting {unknown[0]!r} of ttt; choose from {', '.join(TTT_SETTINGS)}")
        if self.ttt_overrides and self.ttt == "none":
            raise ValueError(f"arm: ttt_overrides {self.ttt_overrides} need a ttt other than none")
        spec = TTTSpec(**self.ttt_overrides)
        if self.rounds < 1:
            raise ValueError(f"arm: rounds must be >= 1, got {self.rounds}")
        if self.rounds > 1 and self.ttt != "own":
            raise ValueError(f"arm: rounds {self.rounds} learn from the arm's own answers: use ttt own, got {self.ttt}")
        if self.rounds > max(spec.steps, 1) and "steps" in self.ttt_overrides:
            raise ValueError(f"arm: {spec.steps} ttt steps cannot be shared out over {self.rounds} rounds")

    def _check_taps(self) -> None:
        if self.taps not in TAP_NAMES and (isinstance(self.taps, str) or self.taps < 0):
            raise ValueError(f"arm: unknown taps {self.taps!r}; choose from {', '.join(TAP_NAMES)}, or a number >= 0")
        if self.mode == "target" and self.taps != "all":
            raise ValueError(
                f"arm: mode target never looks at the draft, so taps {self.taps!r} have no meaning; use all"
            )

    @property
    def id(self) -> str:
        """Stable name: mode, rule and alpha where guided, what the draft was adapted to, and the arm's own settings."""
        rule = f":{self.guidance['rule']}" if "rule" in self.guidance else ""
        strength = f"{rule}@{self.alpha:g}" if self.mode == "guided" else ""
        source = "" if self.mode == "target" else f"+{self.ttt}"
        return ",".join([f"{self.mode}{strength}{source}", *(f"{k}={_short(v)}" for k, v in self._own().items())])

    def _own(self) -> dict[str, Any]:
        """What this arm sets beside mode, alpha and source, by short names, in a stable order."""
        own: dict[str, Any] = {"T": self.temperature, "top_p": self.top_p}
        own |= {name: self.guidance[name] for name in sorted(self.guidance) if name != "rule"}
        own |= {name: self.ttt_overrides[name] for name in TTT_SETTINGS if name in self.ttt_overrides}
        own |= {"taps": None if self.taps == "all" else self.taps, "rounds": None if self.rounds == 1 else self.rounds}
        return {name: value for name, value in own.items() if value is not None}

    def decoding(self, base: DecodingSpec, *, seed: int | None = None) -> DecodingSpec:
        """The decoding spec of this arm: `base` with what the arm sets, and with the seed where one is given."""
        return replace(
            base,
            mode=self.mode,
            temperature=base.temperature if self.temperature is None else self.temperature,
            top_p=base.top_p if self.top_p is None else self.top_p,
            seed=base.seed if seed is None else seed,
            **_guidance(self.guidance, self.alpha),
        )

    def ttt_spec(self, base: TTTSpec, *, number: int = 0) -> TTTSpec:
        """How this arm adapts in a round, from 0: `base` with what the arm sets and the round's share of steps."""
        spec = replace(base, **self.ttt_overrides)
        share, left = divmod(spec.steps, self.rounds)
        return replace(spec, steps=share + (number < left))


def check_arms(arms: Sequence[Arm], baseline: str) -> None:
    """Raise ValueError where two arms are the same or the baseline is none of them."""
    ids = [arm.id for arm in arms]
    if not ids:
        raise ValueError("evaluator.arms is empty: name at least one arm")
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"evaluator.arms names {', '.join(repeated)} more than once")
    if baseline not in ids:
        raise ValueError(f"evaluator.baseline {baseline!r} is not an arm; arms are {', '.join(ids)}")


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds, or a ValueError where there is none or one twice."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"evaluator.seeds must be different numbers, at least one, got {list(seeds)}")
    return tuple(seeds)


def _guidance(rule: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """The fields of a decoding spec that say how to guide: plain interpolation by alpha where no rule is named."""
    if not rule:
        return {"alpha": alpha}
    if unknown := sorted(set(rule) - set(GuidanceSpec.__dataclass_fields__)):
        known = ", ".join(GuidanceSpec.__dataclass_fields__)
        raise ValueError(f"arm: unknown guidance setting {unknown[0]!r}; choose from {known}")
    return {"alpha": 0.0, "guidance": GuidanceSpec(**{"alpha": alpha, **rule})}


def _short(value: Any) -> str:
    """A value as part of a name."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
