"""Configs that ship with the package, by name: `--config demo` from any folder, and what to use for those gone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"  # in a checkout a link to configs/, in a wheel the files
_FOLDERS = {"config": "experiment", "model": "model", "data": "data", "evaluator": "evaluator", "trainer": "trainer"}
_FLAG = re.compile(rf"--({'|'.join(_FOLDERS)})(?:=(.*))?", re.DOTALL)
_NAME = re.compile(r"(?:configs/(\w+)/)?([\w-]+)(\.yaml)?")  # demo, demo.yaml, configs/experiment/demo.yaml
_NOW = {
    "experiment/delta_tau_long": "--config configs/experiment/ttt_documents.yaml",
    "experiment/hardest": "--config configs/experiment/controls.yaml "
    '--data.init_args.categories "[Empirical Discovery & Simulation]"',
    "experiment/qwen25_coder_draft": "--config configs/experiment/smollm2_draft.yaml with the flags that it names",
    "experiment/qwen3_8b_documents": "--config configs/experiment/ttt_documents.yaml "
    "--model configs/model/qwen3_8b.yaml",
    "experiment/smollm2_shallow_draft": '--config configs/experiment/smollm2_draft.yaml --model.new_tap_ids "[1, 8]"',
    "experiment/table1": "--config configs/experiment/tau.yaml",
    "evaluator/guided": "--config configs/experiment/controls.yaml",
    "evaluator/tau": "--config configs/experiment/tau.yaml",
    "model/qwen25_coder_self_study": "--config configs/experiment/self_study.yaml "
    "--model.target Qwen/Qwen2.5-Coder-0.5B-Instruct --model.draft FOLDER",
    "model/qwen3_4b": "--model configs/model/qwen3_8b.yaml with the flags that it names",
    "model/qwen3_coder_30b": "--model configs/model/qwen3_8b.yaml with the flags that it names",
    "model/smollm2_long": "--model configs/model/smollm2.yaml --model.ttt.steps 100 --model.ttt.anchors 64",
}


def with_shipped(args: Sequence[str]) -> list[str]:
    """Arguments with the names of shipped configs as their paths; a file that is there keeps its name.

    Raises:
        ValueError: A config is named that is no longer there, or a study that never was.
    """
    return list(_with_paths(iter(args)))


def _with_paths(args: Iterator[str]) -> Iterator[str]:
    for arg in args:
        found = _FLAG.fullmatch(arg)
        if found is None:
            yield arg
            continue
        value = next(args, None) if found[2] is None else found[2]
        if value is None or value.startswith("--"):  # the parser says what is missing
            yield from [arg] if value is None else [arg, value]
        else:
            yield f"--{found[1]}={_path(found[1], value)}"


def _path(flag: str, value: str) -> str:
    name = _NAME.fullmatch(value)
    if name is None or Path(value).is_file():
        return value
    folder, stem = name[1] or _FOLDERS[flag], name[2]
    if (CONFIGS / folder / f"{stem}.yaml").is_file():
        return str(CONFIGS / folder / f"{stem}.yaml")
    if now := _now(folder, stem, is_file=name[3] is not None):
        raise ValueError(f"--{flag} {value}: this config is gone; use {now}")
    if flag == "config" and not name[3]:
        studies = ", ".join(sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml")))
        raise ValueError(f"--config: no file and no study {value!r}; the studies that ship are {studies}")
    return value


def _now(folder: str, stem: str, *, is_file: bool) -> str:
    """What to give in place of a config that is gone; empty where there never was one."""
    if folder == "data" and is_file:
        return f"--data ContextDataModule --data.suite {stem}, or a study's own data"
    study = f"--config configs/experiment/{stem}.yaml" if (CONFIGS / "experiment" / f"{stem}.yaml").is_file() else ""
    return _NOW.get(f"{folder}/{stem}", study if folder == "evaluator" else "")
