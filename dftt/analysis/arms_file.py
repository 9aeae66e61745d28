"""arms.json: what each arm of a study was, and the rules of the verdict when it began."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.analysis.rules import rules
from dftt.types import DecodingSpec, TTTSpec
from dftt.types.arms import Arm

ARMS_FILE = "arms.json"


@dataclass(frozen=True)
class ArmsFile:
    """What arms.json says: the arms in the study's order, its own settings filled in, and the rules it began under."""

    arms: tuple[Arm, ...]
    rules: Mapping[str, Any] | None = None  # version and digest; None where earlier versions of the package wrote none


def read_arms(folder: Path) -> ArmsFile:
    """What the arms.json of a study says, in any format that there was.

    Raises:
        ValueError: The folder has none, or it cannot be read; the message names it.
    """
    path = folder / ARMS_FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {ARMS_FILE}; name the folder of a study that `test` has run")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        rows, began = (said, None) if isinstance(said, list) else (said["arms"], said["rules"])
        return ArmsFile(tuple(map(Arm.from_json, rows)), began)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); restore the file that `test` wrote") from None


def write_arms(folder: Path, arms: Sequence[Arm], ttt: TTTSpec, decoding: DecodingSpec) -> None:
    """Write arms.json of a study into the folder of its records.

    A study that goes on keeps the rules under which it began.
    """
    began = read_arms(folder).rules if (folder / ARMS_FILE).is_file() else rules()
    rows = [arm.within(ttt, decoding).to_json() for arm in arms]
    (folder / ARMS_FILE).write_text(json.dumps({"rules": began, "arms": rows}, indent=2) + "\n", encoding="utf-8")
