"""`python -m paper.verify RUN_DIR [RUN_DIR …]`: makes every number of a built manuscript again, and compares."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paper.figures import figure_digest
from paper.quantities import QUANTITIES, Material, Parts, same
from paper.studies import Selection, Study, load_studies
from paper.trace import TRACE_FILE


def disagreements(entries: Sequence[Mapping[str, Any]], studies: Sequence[Study]) -> list[str]:
    """One line for each entry of a trace that its records do not give again; none where all agree."""
    by_name = {study.name: study for study in studies}
    chosen: dict[str, Material | None] = {}
    made: dict[str, Parts] = {}
    found = []
    for entry in entries:
        if missing := {*entry.get("studies", [entry.get("study")])} - set(by_name):
            found.append(f"{entry['where']}: no study {', '.join(map(str, missing))}; name its folder, too")
        elif "figure" in entry:
            if figure_digest(entry["figure"], [by_name[name] for name in entry["studies"]]) != entry["sha256"]:
                found.append(f"{entry['where']}: the figure's numbers differ")
        else:
            found += _disagreement(entry, by_name[entry["study"]], chosen, made)
    return found


def _disagreement(
    entry: Mapping[str, Any], study: Study, chosen: dict[str, Material | None], made: dict[str, Parts]
) -> list[str]:
    """What is wrong with an entry; records that were chosen and parts that were made are kept for the next one."""
    records = json.dumps([entry["study"], entry["records"]])
    if records not in chosen:
        chosen[records] = _material(entry["records"], study)
    material = chosen[records]
    if material is None:
        return [f"{entry['where']}: the records that its filter chooses are not those that it was made of"]
    key = json.dumps([records, entry["quantity"], entry["arguments"]], sort_keys=True)
    if key not in made:
        made[key] = QUANTITIES[entry["quantity"]](material, **entry["arguments"])
    value = made[key].get(entry["part"])
    return [] if same(value, entry["value"]) else [f"{entry['where']}: {entry['value']} was written, {value} is made"]


def _material(said: Mapping[str, Any], study: Study) -> Material | None:
    """What a filter chooses of a study; None where it is not what it was."""
    selection = Selection(tuple(said["arms"]), said["by"], said["group"])
    records = selection.records(study)
    if (len(records), study.digest(records)) != (said["count"], said["sha256"]):
        return None
    return Material(study.run, records, selection.chosen(study))


def main(arguments: Sequence[str] | None = None) -> None:
    """Say how many numbers agree; exit with 1 where one does not, with 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m paper.verify", description=__doc__)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="folder of a study")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "build", help="where it was built")
    options = parser.parse_args(arguments)
    try:
        entries = json.loads((options.out / TRACE_FILE).read_text(encoding="utf-8"))["entries"]
        found = disagreements(entries, load_studies(options.run_dirs))
    except (OSError, ValueError) as error:
        print("error:", error, file=sys.stderr)
        sys.exit(2)
    print("\n".join(found) or f"{len(entries)} numbers agree with the records")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
