"""Which block size to decode with: the one that promises most tokens a second at the acceptance seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dftt.types.checks import at_least, positive, share, whole

StepCosts = Mapping[int, Mapping[int, float]]  # rows -> block size -> seconds of a cycle

_DOUBT = 2.0  # observations that a slot's prior guess is worth
_FIRST_PROBES = 4


class BlockScheduler:
    """Picks a block size for every cycle from measured costs and running acceptance.

    Acceptance is kept per slot: how often its proposal was right where all before it were. From these the tokens that a
    cycle of any size will commit follow, so one size in use tells about all smaller ones. Larger ones are tried now and
    then. The tokens themselves do not depend on the sizes: decoding stays lossless.

    Args:
        costs: Seconds of a cycle for each row count and block size, as `measure_costs` gives them; the same sizes for
            every row count. Size 1 is plain autoregression.
        memory: Row-cycles after which an observation has lost most of its weight.
        probing: Share of the time that may be lost by trying the next larger size, after the first few cycles at the
            largest.

    Raises:
        ValueError: If costs are missing or not positive, or row counts were measured at different sizes.
    """

    def __init__(self, costs: StepCosts, *, memory: int = 400, probing: float = 0.015) -> None:
        sizes = {tuple(sorted(each)) for each in costs.values()}
        if len(sizes) != 1 or not next(iter(sizes)):
            raise ValueError(f"costs must give the same block sizes for every row count, got {sorted(sizes)}")
        for rows, each in costs.items():
            whole("row count of costs", rows, 1)
            for size, seconds in each.items():
                whole("block size of costs", size, 1)
                positive(f"costs of {rows} rows at block size {size}", seconds)
        at_least("memory", memory, 1)
        share("probing", probing)
        if probing == 1:
            raise ValueError("probing must be below 1: nothing but probes would be left")
        self.sizes: tuple[int, ...] = sizes.pop()
        self.costs = {rows: dict(each) for rows, each in sorted(costs.items())}
        self.probing = probing
        self._keep = 1 - 1 / memory
        self._first = _FIRST_PROBES
        self._may_lose = 0.0  # seconds that probing has saved up
        self._reached = [0.0] * self.sizes[-1]  # by slot; slot 0 is the anchor
        self._right = [0.0] * self.sizes[-1]

    @property
    def largest(self) -> int:
        """The largest block size it may choose."""
        return self.sizes[-1]

    def choose(self, rows: int) -> int:
        """The size for the next cycle of so many rows."""
        if self._first > 0:
            self._first -= 1
            return self.largest
        costs, expected = self._costs_of(rows), self.expected_tokens()
        best = max(self.sizes, key=lambda size: expected[size] / costs[size])
        self._may_lose += self.probing * costs[best]
        for larger in self.sizes[self.sizes.index(best) + 1 :][:1]:
            # Seconds that the best size would have needed less for the same tokens, as far as is known.
            loss = costs[larger] - expected[larger] * costs[best] / expected[best]
            if loss <= self._may_lose:
                self._may_lose -= loss
                return larger
        return best

    def observe(self, size: int, committed: Sequence[int]) -> None:
        """Learn from a cycle of the given size: the tokens that each active row committed."""
        for count in committed:
            for slot in range(1, self.largest):
                # All slots forget at one pace: what was not reached for long is guessed from the slot before it again.
                seen = slot <= count and slot < size
                self._reached[slot] = self._reached[slot] * self._keep + seen
                self._right[slot] = self._right[slot] * self._keep + (seen and slot < count)

    def expected_tokens(self) -> dict[int, float]:
        """Tokens that a row is expected to commit in a cycle of each size."""
        expected, tokens, prefix, guess = {}, 1.0, 1.0, 0.5
        for slot in range(1, self.largest + 1):
            if slot in self.sizes:
                expected[slot] = tokens
            if slot < self.largest:
                # A slot that was hardly ever reached is guessed to be as good as the one before it.
                guess = (self._right[slot] + _DOUBT * guess) / (self._reached[slot] + _DOUBT)
                prefix *= guess
                tokens += prefix
        return expected

    def _costs_of(self, rows: int) -> Mapping[int, float]:
        """Costs of the smallest measured row count that is not below `rows`, else of the largest."""
        return self.costs[next((measured for measured in self.costs if measured >= rows), max(self.costs))]
