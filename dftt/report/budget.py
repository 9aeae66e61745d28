"""Where the time and the bytes went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dftt.report.charts import bars
from dftt.report.figure import Figure
from dftt.report.markup import Child, join, table
from dftt.report.run import ArmData
from dftt.report.section import Section, note, shown
from dftt.types import Record


@dataclass(frozen=True)
class Cost:
    """What an arm cost.

    Args:
        decoding_s: Seconds of decoding, prefill left out.
        adapting_s: Seconds of its adaptations, each counted once per context however many arms share it.
        tokens: New tokens.
        target_calls: Target passes after the prefill.
        peak_bytes: Largest peak of an adaptation; 0 where none was recorded.
    """

    decoding_s: float
    adapting_s: float
    tokens: int
    target_calls: int
    peak_bytes: int

    @property
    def seconds_per_token(self) -> float | None:
        """Decoding alone; None where there is no token, or no time."""
        return self.decoding_s / self.tokens if self.tokens and self.decoding_s else None


def cost_of(records: Sequence[Record]) -> Cost:
    """What these records cost together."""
    adaptations = {r.context_id: r.adaptation for r in records if r.adaptation}
    return Cost(
        decoding_s=sum(r.seconds for r in records),
        adapting_s=sum(float(each.get("seconds") or 0) for each in adaptations.values()),
        tokens=sum(len(r.token_ids) for r in records),
        target_calls=sum(r.target_calls for r in records),
        peak_bytes=max((int(each.get("peak_bytes") or 0) for each in adaptations.values()), default=0),
    )


def budget_section(arms: Sequence[ArmData]) -> Section:
    """Seconds, tokens, target passes and peak memory per arm."""
    costs = {arm.label: cost_of(arm.records) for arm in arms}
    figure = Figure(
        "budget",
        "Seconds per arm",
        bars(
            {label: {"decoding": c.decoding_s, "adapting": c.adapting_s} for label, c in costs.items()}, axis="seconds"
        ),
        [
            {
                "arm": label,
                "decoding_s": c.decoding_s,
                "adapting_s": c.adapting_s,
                "tokens": c.tokens,
                "target_calls": c.target_calls,
                "peak_bytes": c.peak_bytes,
            }
            for label, c in costs.items()
        ],
    )
    body = join(
        note(
            "Wall-clock of decoding and adapting as recorded; reading prompts and scoring are not in it. An adaptation "
            "that several arms share is shown with each of them."
        ),
        table([_row(label, cost) for label, cost in costs.items()], caption="Cost per arm"),
        shown([figure]),
    )
    return Section("budget", "Compute budget", body, [figure])


def _row(label: str, cost: Cost) -> dict[str, Child]:
    rate = cost.tokens / cost.decoding_s if cost.decoding_s else None
    return {
        "arm": label,
        "decoding": f"{cost.decoding_s:,.1f} s" if cost.decoding_s else "–",
        "adapting": f"{cost.adapting_s:,.1f} s" if cost.adapting_s else "–",
        "tokens": f"{cost.tokens:,}",
        "tokens/s": "–" if rate is None else f"{rate:,.1f}",
        "target passes": f"{cost.target_calls:,}",
        "tokens/pass": f"{cost.tokens / cost.target_calls:.2f}" if cost.target_calls else "–",
        "peak of adapting": f"{cost.peak_bytes / 2**30:.2f} GiB" if cost.peak_bytes else "–",
    }
