"""What answers cost: seconds, tokens, target passes, memory; and after how many tokens adapting has paid for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dftt.types import Record


@dataclass(frozen=True)
class Cost:
    """What records cost together.

    Args:
        decoding_s: Seconds of decoding, prefill left out.
        adapting_s: Seconds of adaptations, what the target wrote for them included; each counted once per context
            however many arms share it.
        writing_s: Of these, what the target took to write.
        adaptations: How many there were.
        tokens: New tokens.
        target_calls: Target passes after the prefill.
        peak_bytes: Largest peak of an adaptation; 0 where none was recorded.
    """

    decoding_s: float
    adapting_s: float
    writing_s: float
    adaptations: int
    tokens: int
    target_calls: int
    peak_bytes: int

    @property
    def learning_s(self) -> float:
        """Seconds of the steps alone."""
        return self.adapting_s - self.writing_s

    @property
    def seconds_per_token(self) -> float | None:
        """Decoding alone; None where there is no token, or no time."""
        return self.decoding_s / self.tokens if self.tokens and self.decoding_s else None

    def pays_after(self, without: Cost) -> float | None:
        """New tokens per context after which an adaptation has paid for itself, infinity where it never does.

        None where nothing was adapted, or a time is missing.
        """
        before, after = without.seconds_per_token, self.seconds_per_token
        if before is None or after is None or not self.adaptations:
            return None
        return self.adapting_s / self.adaptations / (before - after) if after < before else float("inf")


def cost_of(records: Sequence[Record]) -> Cost:
    """What these records cost together."""
    made = list({record.context_id: record.adaptation for record in records if record.adaptation}.values())
    writing = sum(float(each["study"]["seconds"]) for each in made if each.get("study"))
    return Cost(
        decoding_s=sum(record.seconds for record in records),
        adapting_s=sum(float(each.get("seconds") or 0) for each in made) + writing,
        writing_s=writing,
        adaptations=len(made),
        tokens=sum(len(record.token_ids) for record in records),
        target_calls=sum(record.target_calls for record in records),
        peak_bytes=max((int(each.get("peak_bytes") or 0) for each in made), default=0),
    )
