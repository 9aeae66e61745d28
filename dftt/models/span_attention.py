"""Attention over spans in Triton: reads the keys that some query may see and no others, split over many programs.

The queries of a group share their key head, so a decoding step is one small matrix product per tile of keys. Each split
keeps its own running softmax (Milakov and Gimelshein 2018), merged by a second kernel (as in flash decoding). Where
many rows share their first keys, the queries of all rows read these together, and each row's own keys are read apart.
Import only where Triton is installed; `acceleration.kernels_run` says so.
"""

# pyright: reportMissingImports=false, reportInvalidTypeForm=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from dftt.models.spans import KEYS_PER_TILE

MAX_SPLITS = 64
EVERYTHING, OWN, SHARED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)  # what a launch reads of a row's keys
ROWS_TOGETHER = 16  # from so many on, reading what is shared once for all is worth a second launch


def span_attention(
    query: Tensor,  # (R, H, Q, Dh)
    key: Tensor,  # (R, Hkv, S, Dh)
    value: Tensor,  # (R, Hkv, S, Dh)
    spans: Tensor,  # (R, 1, Q, 4 or 5), int32
    *,
    scale: float,
    splits: int = 0,
) -> Tensor:  # (R, H, Q, Dh)
    """Grouped-query attention of queries that see what their spans say; what lies outside all spans is never read.

    Dh must be a power of two of at least 16. `splits` programs share the keys of one row and key head; 0 takes as many
    as fill the card.
    """
    rows, heads, queries, width = query.shape
    kv_heads = key.shape[1]
    packed = heads // kv_heads * queries
    tile = 16 if packed <= 16 else 32 if packed <= 32 else 64
    tiles = triton.cdiv(packed, tile)
    together = rows >= ROWS_TOGETHER and spans.shape[-1] == 5
    all_tiles = triton.cdiv(rows * packed, 64)
    splits = splits or _splits(query.device, kv_heads * (all_tiles if together else rows * tiles))
    parts = 2 * splits if together else splits
    out = torch.empty(rows, heads, queries, width, dtype=query.dtype, device=query.device)
    part = torch.empty(rows * kv_heads, parts, packed, width, dtype=torch.float32, device=query.device)
    stats = torch.empty(rows * kv_heads, parts, packed, 2, dtype=torch.float32, device=query.device)

    def read(grid: tuple[int, int, int], *, tile: int, offset: int, what: int) -> None:
        _read_split[grid](
            query,
            key,
            value,
            spans,
            part,
            stats,
            scale,
            rows,
            kv_heads,
            queries,
            packed,
            *query.stride()[:3],
            *key.stride()[:3],
            *value.stride()[:3],
            spans.stride(0),
            WIDTH=width,
            TILE=tile,
            KEYS=KEYS_PER_TILE,
            SPLITS=splits,
            PARTS=parts,
            OFFSET=offset,
            COLUMNS=spans.shape[-1],
            WHAT=what,
            # Full-precision products for float32, so that results are the plain attention's.
            PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
            num_warps=4,
            num_stages=2,
        )

    with torch.cuda.device_of(query):  # Triton launches on the current card
        read((splits, rows * kv_heads, tiles), tile=tile, offset=0, what=OWN if together else EVERYTHING)
        if together:
            read((splits, kv_heads, all_tiles), tile=64, offset=splits, what=SHARED)
        _merge_splits[(packed, rows * kv_heads)](
            part, stats, out, kv_heads, queries, packed, *out.stride()[:3], WIDTH=width, SPLITS=parts, num_warps=2
        )
    return out


def write_rows(keys: Tensor, values: Tensor, new_keys: Tensor, new_values: Tensor, positions: Tensor) -> None:
    """Write new (R, Hkv, Q, Dh) into keys and values (R, Hkv, S, Dh) at positions (R, Q), int64, in one launch."""
    rows, kv_heads, queries, width = new_keys.shape
    positions = positions.contiguous()
    with torch.cuda.device_of(keys):
        _write[(rows * queries, kv_heads)](
            keys,
            values,
            new_keys,
            new_values,
            positions,
            queries,
            *keys.stride()[:3],
            *values.stride()[:3],
            *new_keys.stride()[:3],
            *new_values.stride()[:3],
            WIDTH=width,
            num_warps=1,
        )


def _splits(device: torch.device, programs: int) -> int:
    """A power of two that gives every multiprocessor about two programs."""
    wanted = max(1, 2 * _multiprocessors(device) // programs)
    return min(MAX_SPLITS, 1 << (wanted.bit_length() - 1))


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@triton.jit
def _read_split(
    query,
    key,
    value,
    spans,
    part,
    stats,
    scale,
    rows,
    kv_heads,
    queries,
    packed,
    query_row,
    query_head,
    query_slot,
    key_row,
    key_head,
    key_slot,
    value_row,
    value_head,
    value_slot,
    spans_row,
    WIDTH: tl.constexpr,  # noqa: N803 - Triton's constants
    TILE: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
    SPLITS: tl.constexpr,  # noqa: N803
    PARTS: tl.constexpr,  # noqa: N803
    OFFSET: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    WHAT: tl.constexpr,  # noqa: N803
    PRECISION: tl.constexpr,  # noqa: N803
):
    split = tl.program_id(0)
    # One row's queries, or those of all rows one behind the other; the keys are row 0's then.
    key_of = 0 if WHAT == SHARED else tl.program_id(1) // kv_heads
    kv_head = tl.program_id(1) % kv_heads
    # All rows of a head lie together, so heads are far apart: 64 bits.
    keys_from, row_keys = key + kv_head.to(tl.int64) * key_head, tl.cast(key_of, tl.int64) * key_row
    values_from, row_values = value + kv_head.to(tl.int64) * value_head, tl.cast(key_of, tl.int64) * value_row
    # Packed queries: all queries of the group's first head, then of its second, and so on.
    index = tl.program_id(2) * TILE + tl.arange(0, TILE)
    inside = index < (rows * packed if WHAT == SHARED else packed)
    row = index // packed if WHAT == SHARED else key_of + tl.zeros([TILE], tl.int32)
    index = index % packed if WHAT == SHARED else index
    head = kv_head * (packed // queries) + index // queries
    slot = index % queries
    column = tl.arange(0, WIDTH)

    span = spans + row * spans_row + slot * COLUMNS
    shared = 0
    if COLUMNS == 5:
        shared = tl.load(spans + 4)
    first = tl.load(span, mask=inside, other=2147483647)
    limit = tl.load(span + 1, mask=inside, other=0)
    low = tl.load(span + 2, mask=inside, other=2147483647)
    high = tl.load(span + 3, mask=inside, other=0)
    if WHAT == OWN:
        first = tl.maximum(first, shared)
    if WHAT == SHARED:
        limit = tl.minimum(limit, shared)
        low = tl.full([TILE], 2147483647, tl.int32)
        high = tl.zeros([TILE], tl.int32)
    context_from = tl.min(first, axis=0) // KEYS * KEYS
    context_tiles = tl.maximum(tl.cdiv(tl.max(limit, axis=0) - context_from, KEYS), 0)
    own_from = tl.min(tl.where(high > low, low, 2147483647), axis=0)
    own_until = tl.max(tl.where(high > low, high, 0), axis=0)
    # An empty second span leaves own_from beyond own_until: no tiles.
    own_tiles = tl.where(own_until > own_from, tl.cdiv(own_until - own_from, KEYS), 0)
    tiles = context_tiles + own_tiles
    share = tl.cdiv(tiles, SPLITS)

    loaded = tl.load(
        query
        + row[:, None].to(tl.int64) * query_row
        + head[:, None] * query_head
        + slot[:, None] * query_slot
        + column[None, :],
        mask=inside[:, None],
        other=0.0,
    )
    best = tl.full([TILE], -1.0e30, tl.float32)
    total = tl.zeros([TILE], tl.float32)
    mixed = tl.zeros([TILE, WIDTH], tl.float32)
    for number in range(split * share, tl.minimum((split + 1) * share, tiles)):
        in_context = number < context_tiles
        start = tl.where(in_context, context_from + number * KEYS, own_from + (number - context_tiles) * KEYS)
        place = start + tl.arange(0, KEYS)
        since = tl.where(in_context, first, low)
        until = tl.where(in_context, limit, high)
        seen = (place[None, :] >= since[:, None]) & (place[None, :] < until[:, None])
        # Rows of the cache beyond what anyone sees may lie outside the storage.
        stored = place < tl.where(in_context, tl.max(limit, axis=0), own_until)
        wide = place.to(tl.int64)
        is_own = start >= shared  # what is shared fills whole tiles, and stands in row 0
        keys = tl.load(
            keys_from + tl.where(is_own, row_keys, 0) + wide[None, :] * key_slot + column[:, None],
            mask=stored[None, :],
            other=0.0,
        )
        scores = tl.dot(loaded, keys, input_precision=PRECISION) * scale
        scores = tl.where(seen, scores, -1.0e30)
        peak = tl.maximum(best, tl.max(scores, axis=1))
        weights = tl.where(seen, tl.exp(scores - peak[:, None]), 0.0)
        shrink = tl.exp(best - peak)
        values = tl.load(
            values_from + tl.where(is_own, row_values, 0) + wide[:, None] * value_slot + column[None, :],
            mask=stored[:, None],
            other=0.0,
        )
        mixed = mixed * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
        total = total * shrink + tl.sum(weights, axis=1)
        best = peak
    at = ((row * kv_heads + kv_head) * PARTS + OFFSET + split) * packed + index
    tl.store(part + at[:, None].to(tl.int64) * WIDTH + column[None, :], mixed, mask=inside[:, None])
    tl.store(stats + at * 2, best, mask=inside)
    tl.store(stats + at * 2 + 1, total, mask=inside)


@triton.jit
def _merge_splits(
    part,
    stats,
    out,
    kv_heads,
    queries,
    packed,
    out_row,
    out_head,
    out_slot,
    WIDTH: tl.constexpr,  # noqa: N803
    SPLITS: tl.constexpr,  # noqa: N803
):
    index = tl.program_id(0)
    row = tl.program_id(1) // kv_heads
    head = tl.program_id(1) % kv_heads * (packed // queries) + index // queries
    column = tl.arange(0, WIDTH)
    at = (tl.program_id(1) * SPLITS + tl.arange(0, SPLITS)) * packed + index
    best = tl.load(stats + at * 2)
    factor = tl.exp(best - tl.max(best, axis=0))
    total = tl.sum(tl.load(stats + at * 2 + 1) * factor, axis=0)
    mixed = tl.load(part + at[:, None].to(tl.int64) * WIDTH + column[None, :])
    merged = tl.sum(mixed * factor[:, None], axis=0) / tl.maximum(total, 1.0e-30)
    place = row.to(tl.int64) * out_row + head * out_head + index % queries * out_slot
    tl.store(out + place + column, merged.to(out.dtype.element_ty))


@triton.jit
def _write(
    keys,
    values,
    new_keys,
    new_values,
    positions,
    queries,
    keys_row,
    keys_head,
    keys_slot,
    values_row,
    values_head,
    values_slot,
    new_keys_row,
    new_keys_head,
    new_keys_slot,
    new_values_row,
    new_values_head,
    new_values_slot,
    WIDTH: tl.constexpr,  # noqa: N803
):
    row = (tl.program_id(0) // queries).to(tl.int64)
    slot = tl.program_id(0) % queries
    head = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WIDTH)
    position = tl.load(positions + tl.program_id(0))
    new_key = tl.load(new_keys + row * new_keys_row + head * new_keys_head + slot * new_keys_slot + column)
    new_value = tl.load(new_values + row * new_values_row + head * new_values_head + slot * new_values_slot + column)
    tl.store(keys + row * keys_row + head * keys_head + position * keys_slot + column, new_key)
    tl.store(values + row * values_row + head * values_head + position * values_slot + column, new_value)
