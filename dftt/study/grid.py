"""Grids: every combination of the values that axes may take, as arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from dftt.types.arms import DRAFTLESS, TTT_SETTINGS, Arm
from dftt.types.methods import BASELINES

ARM_AXES: tuple[str, ...] = tuple(each.name for each in fields(Arm) if each.name not in ("ttt_overrides", "name"))
AXES: tuple[str, ...] = ARM_AXES + TTT_SETTINGS
_MAPPINGS = ("guidance", "parameters", "drafting")
Grid = Mapping[str, Sequence[Any]]


def expand(grid: Grid | Sequence[Grid]) -> list[Arm]:
    """Arms of all combinations, in the order of the axes, each arm once; none of no axes.

    An axis that has no meaning for an arm (alpha where nothing is guided, steps where nothing is adapted) is left out
    of it, so that a grid over modes and adaptations holds each plain arm once.

    Args:
        grid: Axis to its values: mode, ttt, alpha, temperature, top_p, guidance, parameters, matched_to, taps, rounds,
            drafting, and each setting of model.ttt. Or several such grids, one after the other. `source` is what older
            configs call ttt.

    Raises:
        ValueError: An axis is unknown, or has no values or a value that no arm accepts.
    """
    arms = [arm for each in ([grid] if isinstance(grid, Mapping) else grid) for arm in _expand(each)]
    return list({arm.id: arm for arm in arms}.values())


def _expand(grid: Grid) -> list[Arm]:
    if "source" in grid and "ttt" in grid:
        raise ValueError("evaluator.grid has ttt and source, its former name: leave source out")
    grid = {"ttt" if axis == "source" else axis: values for axis, values in grid.items()}
    for axis, values in grid.items():
        if axis not in AXES:
            raise ValueError(f"evaluator.grid: unknown axis {axis!r}; choose from {', '.join(AXES)}")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"evaluator.grid.{axis} must be a list of at least one value, got {values!r}")
    if not grid:
        return []
    return [_arm(dict(zip(grid, values, strict=True))) for values in product(*grid.values())]


def _arm(values: Mapping[str, Any]) -> Arm:
    mode, source = values.get("mode", "speculative"), values.get("ttt", "none")
    adapts, draws = source != "none" and mode not in DRAFTLESS, mode not in ("power", "copy")
    has_meaning = {
        "mode": True,
        "alpha": mode == "guided",
        "guidance": mode == "guided",
        "parameters": mode in BASELINES,
        "drafting": mode == "speculative",
        "matched_to": mode == "target",
        # An arm that is matched to another has a temperature of its own.
        "temperature": draws and not (mode == "target" and values.get("matched_to")),
        "top_p": draws,
        "ttt": adapts,
        "rounds": adapts,
        "taps": mode not in DRAFTLESS,
    }
    settings = {axis: value for axis, value in values.items() if has_meaning.get(axis)}
    settings |= {axis: settings[axis] or {} for axis in _MAPPINGS if axis in settings}
    if adapts:
        settings["ttt_overrides"] = {axis: value for axis, value in values.items() if axis in TTT_SETTINGS}
    return Arm(**settings)
