"""The page of all settings of the command line: name, type, default and meaning, from the classes that take them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import DocstringStyle, parse
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from dftt.data import ContextDataModule, CorpusDataModule
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.judges.local import LocalJudge
from dftt.judges.openai_compatible import OpenAIJudge
from dftt.module import DraftTTTModule
from dftt.study import Arm
from dftt.types import DecodingSpec, GuidanceSpec, TrainingSpec, TTTSpec

INTRODUCTION = """# Settings

Made from the classes that take them when these pages are built. On the command line a setting is
`--model.ttt.steps 40`; in a file it is nested YAML. `python cli.py test --help` lists the same ones, and
`--print_config` prints the configuration that a command would run with. Flags after `--config` win. The groups
`trainer`, `seed_everything` and `ckpt_path` are
[Lightning's own](https://lightning.ai/docs/pytorch/stable/common/trainer.html).
"""
SECTIONS: tuple[tuple[str, type, str], ...] = (
    ("model", DraftTTTModule, "Target and draft."),
    ("model.ttt", TTTSpec, "Test-time training. Every line is an axis of `evaluator.grid`, too."),
    ("model.training", TrainingSpec, "Training over a corpus."),
    (
        "data",
        ContextDataModule,
        "Contexts with their tasks: `--data ContextDataModule`.",
    ),
    ("data", CorpusDataModule, "Training corpora: `--data CorpusDataModule`, for `fit` and `validate`."),
    ("evaluator", GuidedDecodingEvaluator, "What `test` measures and `predict` answers with."),
    ("evaluator.decoding", DecodingSpec, "How tokens are made."),
    ("evaluator.decoding.guidance", GuidanceSpec, "The rule of guidance; also the keys of an arm's `guidance`."),
    ("evaluator.arms", Arm, "An entry of the list `arms`, and `evaluator.answer_with`."),
    ("evaluator.judge.init_args", OpenAIJudge, "A judge behind an OpenAI-compatible endpoint."),
    ("evaluator.judge.init_args", LocalJudge, "A judge in this process."),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/settings.md", content=page()))
    return files


def page() -> str:
    """The page in Markdown."""
    return "\n".join([INTRODUCTION, *(_section(*section) for section in SECTIONS)])


def _section(prefix: str, owner: type, about: str) -> str:
    lines = [f"## {prefix} ({owner.__name__}) {{ #{owner.__name__} }}", "", about, ""]
    lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {default} | {meaning} |" for name, kind, default, meaning in rows(owner)]
    return "\n".join([*lines, ""])


def rows(owner: type) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and meaning of each setting of a class."""
    hints = get_type_hints(owner if is_dataclass(owner) else owner.__init__)
    meanings = {
        each.arg_name: each.description or "" for each in parse(owner.__doc__ or "", DocstringStyle.GOOGLE).params
    }
    made = {each.name: each.default_factory for each in fields(owner)} if is_dataclass(owner) else {}
    for name, parameter in inspect.signature(owner).parameters.items():
        factory = made.get(name, MISSING)
        default = parameter.default if factory is MISSING else factory()
        meaning = " ".join(meanings[name].split()).replace("|", "\\|").replace("<", "&lt;")
        yield name, _type(hints[name]), _default(default), meaning


def _type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(hint))
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return f"`{re.sub(r'[a-z_]+[.]', '', text).replace(' | ', ' or ')}`"


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if is_dataclass(value):
        return f"[below](#{type(value).__name__})"
    return "" if value == "" else f"`{value if isinstance(value, str) else json.dumps(value)}`"
