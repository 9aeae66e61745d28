"""Preallocated keys and values for rows of different lengths; rejected tokens are simply written over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from dftt.models.acceleration import kernels_run


@dataclass(frozen=True)
class Placement:
    """Where the tokens of one pass stand."""

    positions: Tensor  # of each token, (R, Q), consecutive within a row
    used: int  # positions a reader sees afterwards: those of the longest row, or more where the host knows no lengths
    start: int | None  # the first position, where it is the same in every row: then writing is a copy, not a scatter
    # Two branches are read at once, which share the first token: the tokens from this one on stand behind those of the
    # first branch, but at the positions in the text of these. 0 where there is one.
    fork: int = 0

    @property
    def times(self) -> Tensor:
        """Position of each token in its text, (R, Q)."""
        if not self.fork:
            return self.positions
        ahead = self.positions[:, self.fork :] - (self.fork - 1)
        return torch.cat([self.positions[:, : self.fork], ahead], dim=1)


def place(starts: Sequence[int], count: int, *, device: torch.device) -> Placement:
    """Placement of `count` tokens per row from each row's start."""
    offsets = torch.arange(count, device=device)
    if len(set(starts)) == 1:
        start = starts[0]
        return Placement((offsets + start).expand(len(starts), count), start + count, start)
    return Placement(torch.tensor(starts, device=device)[:, None] + offsets, max(starts) + count, None)


def place_on_device(starts: Tensor, count: int, *, capacity: int) -> Placement:
    """Placement of rows whose starts (R,) only the device knows: readers see all positions, masks say which count."""
    return Placement(starts[:, None] + torch.arange(count, device=starts.device), capacity, None)


def forked(at: Placement, *, capacity: int) -> Placement:
    """Placement of two branches whose first one is placed at `at`; readers never see more than `capacity`."""
    more = at.positions.shape[1] - 1
    positions = torch.cat([at.positions, at.positions[:, 1:] + more], dim=1)
    return Placement(positions, min(at.used + more, capacity), at.start, fork=more + 1)


class RowCache(Cache):
    """Keys and values of `num_layers` layers for R rows, allocated once on first use.

    Set `placement` before a pass to say where its tokens go; each layer's `update` then writes there and returns views
    of the used part. A row's rejected tokens need no clean-up: the next pass is placed over them, and masks hide them
    until then.

    The first `shared` positions are common to all rows and stored once: row 0 holds them, and no other row may be
    written there.
    """

    def __init__(self, num_layers: int, *, rows: int, capacity: int, shared: int = 0) -> None:
        self.rows, self.capacity, self.shared = rows, capacity, shared
        self._placement: Placement | None = None
        self._row_layers = [_RowLayer(self) for _ in range(num_layers)]  # self.layers, typed
        super().__init__(layers=list(self._row_layers))

    @property
    def placement(self) -> Placement:
        """Where the next writes go."""
        if self._placement is None:
            raise RuntimeError("RowCache.placement must be set before a pass")
        return self._placement

    @placement.setter
    def placement(self, placement: Placement) -> None:
        if placement.used > self.capacity:
            raise ValueError(f"cache has room for {self.capacity} positions a row, needs {placement.used}")
        self._placement = placement

    def fill_row(self, row: int, keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Copy (Hkv, T, Dh) keys and values per layer to a row's first T positions, what is shared to row 0 only."""
        first = self.shared if row else 0
        for layer, key, value in zip(self._row_layers, keys, values, strict=True):
            if not key.numel():  # of a layer that writes nothing (`read_row`)
                continue
            stored_keys, stored_values = layer.storage(key[None], value[None])
            stored_keys[row, :, first : key.shape[1]] = key[:, first:]
            stored_values[row, :, first : value.shape[1]] = value[:, first:]

    def read_row(self, row: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Views of a row's keys and values, (Hkv, capacity, Dh) per layer, empty where a layer reads another's keys.

        What is shared stands in row 0 alone.
        """
        if not any(layer.is_initialized for layer in self._row_layers):
            raise RuntimeError("cache is empty: no pass has written to it")
        nothing = (torch.empty(self.rows, 0), torch.empty(self.rows, 0))
        written = [layer.written() if layer.is_initialized else nothing for layer in self._row_layers]
        return tuple(keys[row] for keys, _ in written), tuple(values[row] for _, values in written)

    def copy_rows(self, rows: Sequence[int], other: RowCache) -> None:
        """Copy all rows of another cache, which shares the same positions, into these, as far as both have room."""
        width = min(self.capacity, other.capacity)
        for own, copied in zip(self._row_layers, other._row_layers, strict=True):
            if not copied.is_initialized:
                continue
            for stored, new in zip(own.written(), copied.written(), strict=True):
                index = torch.tensor(rows, device=stored.device)
                stored[index, :, self.shared : width] = new[:, :, self.shared : width]

    def move(self, source: Tensor, destination: Tensor) -> None:
        """Copy what stands at positions (R, K) of each row to others of the same row."""
        rows = torch.arange(self.rows, device=source.device)[:, None]
        for layer in self._row_layers:
            for stored in layer.written():
                stored[rows, :, destination] = stored[rows, :, source]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - signature of transformers
        """Always 0: positions and masks are explicit, so nothing may be derived from a common length."""
        return 0


class _RowLayer(CacheLayerMixin):
    """One layer of a RowCache."""

    is_compileable = False
    is_sliding = False

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = self._rows_of(key_states), self._rows_of(value_states)
        self.is_initialized = True

    def _rows_of(self, states: Tensor) -> Tensor:  # (R, Hkv, capacity, Dh)
        """Room for all rows: per head the shared positions, then each row's own.

        A row begins as many positions after the one before it as it has of its own, so what stands at its shared
        positions is other rows' or the shared part: readers look for it in row 0.
        """
        cache, heads, width = self.cache, states.shape[1], states.shape[-1]
        own = cache.capacity - cache.shared
        # Zeros, not empty: masked slots still meet the softmax weight 0, and 0 * NaN is NaN.
        stored = states.new_zeros(heads, cache.shared + cache.rows * own, width)
        strides = (own * width, stored.stride(0), width, 1)
        return stored.as_strided((cache.rows, heads, cache.capacity, width), strides)

    def storage(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """What was written, allocated for such states on first use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self.written()

    def written(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions."""
        if self.keys is None or self.values is None:
            raise RuntimeError("cache is empty: no pass has written to it")
        return self.keys, self.values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        (keys, values), at = self.storage(key_states, value_states), self.cache.placement
        by_kernels = kernels_run(keys.device, keys.shape[-1]) and keys.shape == values.shape
        if by_kernels:
            from dftt.models.span_attention import write_rows  # needs Triton, which only some machines have

            write_rows(keys, values, key_states, value_states, at.positions)
        elif at.start is not None:
            stop = at.start + key_states.shape[2]
            keys[:, :, at.start : stop].copy_(key_states)
            values[:, :, at.start : stop].copy_(value_states)
        else:
            rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
            keys[rows, :, at.positions] = key_states.transpose(1, 2)
            values[rows, :, at.positions] = value_states.transpose(1, 2)
        if by_kernels or self.cache.rows == 1 or not self.cache.shared:
            return keys[:, :, : at.used], values[:, :, : at.used]
        return self._whole(keys), self._whole(values)

    def _whole(self, states: Tensor) -> Tensor:  # (R, Hkv, used, Dh)
        """A copy of the used part in which every row has the shared positions, for readers that know of no other."""
        shared, used = self.cache.shared, self.cache.placement.used
        return torch.cat([states[:1, :, :shared].expand(states.shape[0], -1, -1, -1), states[:, :, shared:used]], dim=2)

    def get_mask_sizes(self, query_length: int, *_: Any) -> tuple[int, int]:  # noqa: ARG002
        return self.cache.placement.used, 0

    def get_seq_length(self, *_: Any) -> int:
        return 0

    def get_max_length(self) -> int:
        return self.cache.capacity

    def get_max_cache_shape(self) -> int:
        return self.cache.capacity
