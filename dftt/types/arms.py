"""Arms: what is compared on equal prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, cast, get_args

from dftt.types import DecodingSpec, GuidanceSpec, Mode, TTTSpec
from dftt.types.checks import check_fields
from dftt.types.methods import BASELINES, Baseline, CopySpec, PowerSpec, RerankSpec, make_baseline

ArmMode = Literal["target", "speculative", "guided", "power", "rerank", "copy"]
ARM_MODES: tuple[str, ...] = get_args(ArmMode)
DRAFTLESS: tuple[str, ...] = ("target", "copy")  # modes that never look at the draft
Source = Literal["none", "own", "wrong", "shuffled"]
SOURCES: tuple[str, ...] = get_args(Source)
TapName = Literal["all", "shallow", "deep"]
TAP_NAMES: tuple[str, ...] = get_args(TapName)
TTT_SETTINGS: tuple[str, ...] = tuple(each.name for each in fields(TTTSpec))
# Settings of decoding that say what proposes.
DRAFTING = ("drafter", "lookup_suffix", "lookup_study", "draft_window", "draft_sinks", "block_size")


@dataclass(frozen=True)
class Arm:
    """One setting of a study; what it leaves out is the study's own.

    Args:
        mode: target, speculative, guided, a baseline made of lossless answers: power (Power Sampling) or rerank (the
            best of several), or copy: a part of the task's passage as the answer, without any model.
        ttt: What the draft was adapted to: none, own (the task's context), wrong (another context: the control) or
            shuffled (the context's own tokens in random order: another control).
        alpha: Guidance weight, for mode guided.
        temperature: Instead of decoding.temperature.
        top_p: Instead of decoding.top_p.
        guidance: Rule of mode guided and its parameters, {rule: name, ...}; empty: target + alpha (draft - target).
        parameters: Of mode power (alpha, blocks, steps), rerank (by, samples) or copy (what, tokens).
        matched_to: Id of a guided arm, for mode target: each task is answered at the temperature at which the target is
            as unsure, in mean entropy along that arm's answer, as the guided distribution.
        ttt_overrides: Settings of model.ttt that this arm has instead, such as {steps: 10, lr: 1.0e-4} or
            {learns_from: generation}.
        taps: Tapped layers that the draft sees: all, shallow (those before the middle), deep (those behind it), or the
            place of a single one, 0 the shallowest. The others read as zero, in adaptation and decoding alike.
        rounds: Generate, adapt to context and answer, and generate again, so many times in all; each round has its
            share of ttt.steps, so that arms of equal steps can be compared.
        drafting: Settings of decoding that say what proposes, such as {drafter: hybrid} or {draft_window: 512}, for
            mode speculative.
        name: What records and tables call it; by default it is made of the settings.
    """

    mode: ArmMode = "speculative"
    ttt: Source = "none"
    alpha: float = 0.0
    temperature: float | None = None
    top_p: float | None = None
    guidance: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    matched_to: str = ""
    ttt_overrides: dict[str, Any] = field(default_factory=dict)
    taps: TapName | int = "all"
    rounds: int = 1
    drafting: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.mode not in ARM_MODES:
            raise ValueError(f"arm: unknown mode {self.mode!r}; choose from {', '.join(ARM_MODES)}")
        if self.ttt not in SOURCES:
            raise ValueError(f"arm: unknown ttt {self.ttt!r}; choose from {', '.join(SOURCES)}")
        check_fields("arm", self)
        if self.taps not in TAP_NAMES and (isinstance(self.taps, str) or self.taps < 0):
            raise ValueError(f"arm: unknown taps {self.taps!r}; choose from {', '.join(TAP_NAMES)}, or a number >= 0")
        for value, plain, meaning in ((self.ttt, "none", "ttt {!r} has"), (self.taps, "all", "taps {!r} have")):
            if self.mode in DRAFTLESS and value != plain:
                what = meaning.format(value)
                raise ValueError(f"arm: mode {self.mode} never looks at the draft, so {what} no meaning; use {plain}")
        self._check_mode()
        self._check_adaptation()
        self._check_drafting()
        self.decoding(DecodingSpec())  # refuses values that are none
        self._check_sources()

    def _check_mode(self) -> None:
        """Refuse what another mode asks for."""
        if self.mode != "guided" and (self.alpha != 0 or self.guidance):
            name, value = ("guidance", self.guidance) if self.guidance else ("alpha", self.alpha)
            raise ValueError(f"arm: {name} {value} needs mode guided, got mode {self.mode}")
        if self.mode not in BASELINES and self.parameters:
            raise ValueError(f"arm: parameters {self.parameters} need mode power, rerank or copy, got mode {self.mode}")
        if self.mode in BASELINES:
            make_baseline(self.mode, self.parameters)
        drawn = [name for name in ("temperature", "top_p") if getattr(self, name) is not None]
        refusals = {
            "power": "draws at temperature 1 / power.alpha; leave {} out",
            "copy": "draws nothing, so {} has no meaning; leave it out",
        }
        if self.mode in refusals and drawn and not self.name:  # an arm of arms.json says what its study set
            raise ValueError(f"arm: mode {self.mode} {refusals[self.mode].format(drawn[0])}")
        if self.matched_to and self.mode != "target":
            raise ValueError(f"arm: matched_to {self.matched_to!r} needs mode target, got mode {self.mode}")
        if self.matched_to and self.temperature is not None:
            raise ValueError(f"arm: matched_to {self.matched_to!r} finds the temperature; leave temperature out")

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
        if self.rounds > max(spec.steps, 1) and "steps" in self.ttt_overrides and not self.name:
            raise ValueError(f"arm: {spec.steps} ttt steps cannot be shared out over {self.rounds} rounds")
        self.check_learning(spec)

    def check_learning(self, spec: TTTSpec) -> None:
        """Raise ValueError where this arm cannot learn from its own answer while it is decoded, but is to."""
        if self.ttt == "none" or not spec.learns("generation"):
            return
        for name, needed in (("mode", "speculative"), ("ttt", "own"), ("rounds", 1)):
            if (value := getattr(self, name)) != needed:
                raise ValueError(
                    f"arm {self.id}: ttt.learns_from {spec.learns_from!r} needs {name} {needed}, got {value}"
                )

    def _check_drafting(self) -> None:
        if unknown := sorted(set(self.drafting) - set(DRAFTING)):
            raise ValueError(f"arm: unknown setting {unknown[0]!r} of drafting; choose from {', '.join(DRAFTING)}")
        if self.drafting and self.mode != "speculative":
            raise ValueError(f"arm: drafting {self.drafting} needs mode speculative, got mode {self.mode}")
        if self.drafting.get("lookup_study") and self.ttt == "none":
            raise ValueError("arm: lookup_study looks in what the target wrote, and with ttt none it writes nothing")
        if self.drafting.get("drafter") == "lookup" and self.ttt != "none" and not self.drafting.get("lookup_study"):
            raise ValueError(
                f"arm: drafter lookup never asks the draft, so ttt {self.ttt!r} has no meaning; use none, or "
                "lookup_study to look in what the target wrote"
            )

    def _check_sources(self) -> None:
        """Refuse rules that would subtract an adaptation from itself, or one that was never made."""
        sources, rule = self.sources, str(self.guidance.get("rule", ""))
        if rule.startswith("own_") and self.ttt == "none":
            raise ValueError(f"arm: rule {rule} needs an adaptation: use ttt own (or the controls wrong and shuffled)")
        if "other" in sources and self.ttt not in ("own", "shuffled"):
            raise ValueError(
                f"arm: guidance by source other, a draft adapted to another context, needs ttt own or shuffled to set "
                f"it against, got {self.ttt}"
            )
        if {"draft", "base"} <= sources and self.ttt == "none":
            raise ValueError(
                "arm: with ttt none draft and base are the same, so guidance changes nothing; use ttt own, wrong or "
                "shuffled"
            )
        if "other" in sources and self.rounds > 1:
            raise ValueError(f"arm: guidance by source other knows no rounds, got {self.rounds}; use 1")

    @property
    def id(self) -> str:
        """Stable name: mode, rule and alpha where guided, what the draft was adapted to, and the arm's own settings."""
        if self.name:
            return self.name
        rule = f":{self.guidance['rule']}" if "rule" in self.guidance else ""
        strength = f"{rule}@{self.alpha:g}" if self.mode == "guided" else ""
        source = "" if self.mode in DRAFTLESS else f"+{self.ttt}"
        return ",".join([f"{self.mode}{strength}{source}", *(f"{k}={_short(v)}" for k, v in self._own().items())])

    def _own(self) -> dict[str, Any]:
        """What this arm sets beside mode, alpha and source, by short names, in a stable order."""
        own: dict[str, Any] = {"T": self.matched_to or self.temperature, "top_p": self.top_p}
        own |= {name: self.guidance[name] for name in sorted(self.guidance) if name != "rule"}
        own |= {f"{self.mode}.{name}": self.parameters[name] for name in sorted(self.parameters)}
        own |= {name: self.ttt_overrides[name] for name in TTT_SETTINGS if name in self.ttt_overrides}
        own |= {name: self.drafting[name] for name in DRAFTING if name in self.drafting}
        own |= {"taps": None if self.taps == "all" else self.taps, "rounds": None if self.rounds == 1 else self.rounds}
        return {name: value for name, value in own.items() if value is not None}

    @property
    def baseline(self) -> Baseline | None:
        """The baseline that makes the answer; None in the other modes."""
        return make_baseline(self.mode, self.parameters) if self.mode in BASELINES else None

    @property
    def copies(self) -> bool:
        """Whether the answer is a part of the passage, and no model makes it."""
        return self.mode == "copy"

    def learning(self, ttt: TTTSpec) -> TTTSpec | None:
        """How the draft learns while an answer is decoded; None where it does not."""
        spec = self.ttt_spec(ttt)
        return spec if self.ttt != "none" and spec.learns("generation") else None

    def is_alone(self, ttt: TTTSpec) -> bool:
        """Whether an answer is made of more than one pass of decoding, or depends on another."""
        return self.baseline is not None or self.rounds > 1 or bool(self.matched_to) or self.learning(ttt) is not None

    @property
    def family(self) -> str:
        """Names what differs in alpha alone, and so can be decoded side by side; alpha 0 is decoded another way."""
        return self.id if self.alpha == 0 else replace(self, alpha=1.0, name="").id

    @property
    def rule(self) -> GuidanceSpec | None:
        """What guides the answers; None where nothing does, as with alpha 0."""
        rule = self.decoding(DecodingSpec()).rule
        return rule if self.mode == "guided" and rule.alpha != 0 else None

    @property
    def sources(self) -> frozenset[str]:
        """Sources of logits that guidance reads; none where nothing is guided."""
        return frozenset() if self.rule is None else frozenset((self.rule.numerator, self.rule.reference))

    @property
    def needs_other_context(self) -> bool:
        """Whether something of the arm is adapted to another context."""
        return self.ttt == "wrong" or "other" in self.sources

    def drawn_tokens(self, max_new_tokens: int) -> int:
        """Most tokens that are drawn to make one answer: a baseline draws more than it gives."""
        baseline = self.baseline
        if isinstance(baseline, CopySpec):
            return 0
        if isinstance(baseline, RerankSpec):
            return baseline.samples * max_new_tokens
        if isinstance(baseline, PowerSpec):
            # Each step may draw all of the answer anew, which has grown to k / blocks of its length after k blocks.
            return max_new_tokens + baseline.steps * max_new_tokens * (baseline.blocks + 1) // 2
        return max_new_tokens

    def decoding(self, base: DecodingSpec, *, seed: int | None = None) -> DecodingSpec:
        """The decoding spec of this arm: `base` with what the arm sets, and with the seed where one is given.

        That of a baseline is how the answers are drawn that it is made of; that of an arm that is matched to another
        lacks its temperature.
        """
        return replace(
            base,
            mode="speculative" if self.mode in BASELINES else cast(Mode, self.mode),
            temperature=base.temperature if self.temperature is None else self.temperature,
            top_p=base.top_p if self.top_p is None else self.top_p,
            seed=base.seed if seed is None else seed,
            **_guidance(self.guidance, self.alpha),
            **self.drafting,
        )

    def ttt_spec(self, base: TTTSpec, *, number: int = 0) -> TTTSpec:
        """How this arm adapts in a round, from 0: `base` with what the arm sets and the round's share of steps."""
        spec = replace(base, **self.ttt_overrides)
        share, left = divmod(spec.steps, self.rounds)
        return replace(spec, steps=share + (number < left))

    def within(self, ttt: TTTSpec, decoding: DecodingSpec) -> Arm:
        """The same arm under the same id, what it leaves to the study filled in: what arms.json says of it."""
        spec = self.decoding(decoding)
        return replace(
            self,
            name=self.id,
            temperature=None if self.matched_to else spec.temperature,
            top_p=spec.top_p,
            ttt_overrides={} if self.ttt == "none" else asdict(replace(ttt, **self.ttt_overrides)),
        )

    def to_json(self) -> dict[str, Any]:
        """Id and settings as arms.json holds them; `ttt_settings` is None where nothing is adapted."""
        row = {name: getattr(self, name) for name in _ROW if name != "ttt_settings"}
        return {**row, "ttt_settings": None if self.ttt == "none" else dict(self.ttt_overrides)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Arm:
        """The arm of a row written by `to_json`; what rows of earlier versions lack has its default.

        Raises:
            ValueError: The row has no id, an unknown key, or a value that no arm has; the message names it.
        """
        if unknown := sorted(set(row) - set(_ROW)):
            raise ValueError(f"arm: unknown setting {unknown[0]!r}; an arm of a study has {', '.join(_ROW)}")
        if not row.get("id"):
            raise ValueError(f"arm: no id among {dict(row)}; each arm of a study has one")
        given = {name: value for name, value in row.items() if name not in ("id", "ttt_settings")}
        settings = row.get("ttt_settings")
        ttt = {} if settings is None else asdict(TTTSpec(**settings))
        studied = {"temperature": None if row.get("matched_to") else 0.0, "top_p": 1.0}
        return cls(**{**studied, **given}, name=row["id"], ttt_overrides=ttt)


# Keys of an arm in arms.json, in their order.
_ROW = ("id", *(each.name for each in fields(Arm) if each.name not in ("ttt_overrides", "name")), "ttt_settings")


def _guidance(rule: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """The fields of a decoding spec that say how to guide: plain interpolation by alpha where no rule is named."""
    if not rule:
        return {"alpha": alpha}
    known = [each.name for each in fields(GuidanceSpec) if each.name != "alpha"]
    if "alpha" in rule:
        raise ValueError(f"arm: guidance.alpha is {rule['alpha']}: write the weight as the arm's own alpha")
    if unknown := sorted(set(rule) - set(known)):
        raise ValueError(f"arm: unknown guidance setting {unknown[0]!r}; choose from {', '.join(known)}")
    return {"alpha": 0.0, "guidance": GuidanceSpec(**{"alpha": alpha, **rule})}


def _short(value: Any) -> str:
    """A value as part of a name."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
