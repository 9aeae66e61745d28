"""Which rule of guidance believes the passage: margins on NQ-Swap rows, without generating.

    python -m benchmarks.margins nqswap.jsonl --rows 40 --out margins.jsonl

Per row the margin is the mean log-probability per token of the passage's answer minus that of the memorised one. The
draft is adapted to the row's passage (own) and to the previous row's (other). Printed is the change against the target.
Rows that stand in the file of results already, measured under the same settings, are not measured again. A row whose
passage is too short to adapt to is left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dftt
from dftt.decoding.sampling import sample_key
from dftt.types import LORA_MODULES
from dftt_tools.corpus.jsonl import read_rows
from dftt_tools.margin import Margin, answer_margins

LEAST_PASSAGE = 3  # tokens: a block needs one before its anchor and one behind it
ALPHAS = (-1.0, -0.5, -0.3, 0.3, 1.0, 2.0)
RULES = [
    *(
        dftt.GuidanceSpec(rule, alpha=alpha)
        for rule in ("interpolate", "own_minus_base", "own_minus_other", "cad")
        for alpha in ALPHAS
    ),
    dftt.GuidanceSpec("cad", alpha=1.0, adapt="divergence"),
    dftt.GuidanceSpec("contrastive", alpha=0.5, reference="early_exit:15", plausibility=0.0),
    *(dftt.GuidanceSpec(rule, alpha=alpha) for rule in ("noise_norm", "noise_spread") for alpha in (-0.5, 0.3)),
]


def main(arguments: list[str] | None = None) -> None:
    """Measure the rows of a file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSONL with id, context, question, answer and distractor")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="steps of test-time training")
    parser.add_argument("--lr", type=float, default=5e-3, help="its learning rate")
    parser.add_argument("--loss", choices=("kl", "ce", "mixed"), default="kl", help="its loss")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSONL of results, one line per row; read first if it exists")
    options = parser.parse_args(arguments)
    rows = [row for _, row in itertools.islice(read_rows(options.file), options.rows + 1)]
    settings = {"steps": options.steps, "lr": options.lr, "loss": options.loss}
    measured = known(options.out, settings)
    pair = dftt.load_pair(device=options.device)
    spec = dftt.TTTSpec(**settings, anchors=16, modules=LORA_MODULES)
    rows = [row for row in rows if is_long_enough(pair, row)]
    other = None
    for before, row in itertools.pairwise(rows):
        if row["id"] in measured:
            other = None
            continue
        own = adapted(pair, row, spec)
        measured[row["id"]] = margins_of(pair, row, own, other or adapted(pair, before, spec))
        other = own
        if options.out:
            line = {"id": row["id"], "settings": settings, "margins": [*map(asdict, measured[row["id"]])]}
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        print(f"[{len(measured)}/{len(rows) - 1}] {row['id']}", file=sys.stderr)
    show(list(measured.values()))


def known(path: Path | None, settings: Mapping[str, Any]) -> dict[str, list[Margin]]:
    """What a file of results holds of rows measured under these settings, by the row's id."""
    if path is None or not path.exists():
        return {}
    rows = [row for _, row in read_rows(path) if row["settings"] == settings]
    return {row["id"]: [Margin(**margin) for margin in row["margins"]] for row in rows}


def is_long_enough(pair: dftt.Pair, row: Mapping[str, Any]) -> bool:
    """Whether a row's passage can be adapted to; says so where it cannot."""
    length = len(pair.encode(row["context"]))
    if length < LEAST_PASSAGE:
        print(f"left out {row['id']}: a passage of {length} tokens is too short to adapt to", file=sys.stderr)
    return length >= LEAST_PASSAGE


def adapted(pair: dftt.Pair, row: Mapping[str, Any], spec: dftt.TTTSpec) -> dftt.Adaptation:
    """The draft's adaptation to a row's passage."""
    return dftt.ttt_adapt(pair, pair.encode(row["context"]), spec)


def margins_of(pair: dftt.Pair, row: Mapping[str, Any], own: dftt.Adaptation, other: dftt.Adaptation) -> list[Margin]:
    """The target's margin, then that of each rule."""
    ask = f"Answer in a few words. {row['question']}?"
    prompt, question = (
        pair.encode([{"role": "user", "content": content}]) for content in (f"{row['context']}\n\n{ask}", ask)
    )
    answer, distractor = (pair.encode(row[name]).input_ids for name in ("answer", "distractor"))
    materials = dftt.Materials({"other": other.adapter}, (question,))
    key = sample_key(0, row["id"])  # every row meets noise of its own
    return answer_margins(pair, prompt, answer, distractor, RULES, adaptation=own, materials=materials, key=key)


def show(measured: list[list[Margin]]) -> None:
    """A Markdown table: the mean change against the target with its 95 % interval, and the answer's log-probability."""
    print(
        f"n = {len(measured)}\n\n| rule | alpha | change in margin | log-probability of the answer |\n|---|---|---|---|"
    )
    names = [("target", ""), *((f"{rule.rule} {rule.adapt.replace('none', '')}", f"{rule.alpha:g}") for rule in RULES)]
    for index, (name, alpha) in enumerate(names):
        changes = [row[index].mean - row[0].mean for row in measured]
        half = 1.96 * statistics.stdev(changes) / math.sqrt(len(changes))
        answer = statistics.mean(statistics.mean(row[index].in_context) for row in measured)
        print(f"| {name} | {alpha} | {statistics.mean(changes):+.2f} ± {half:.2f} | {answer:.2f} |")


if __name__ == "__main__":
    main()
