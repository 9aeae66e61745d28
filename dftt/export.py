"""`python -m dftt.export DRAFT --format FORMAT --out DIR`: a draft as others read it, an adapter merged into it.

zlab is what dftt itself writes, and what vLLM and SGLang read; speculators is the layout of that library, which vLLM
reads as well; transformers is the DFlash assistant of transformers' own generate. Weights keep their precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch

from dftt.command import command_line
from dftt.models.checkpoint import read_config, weight_files, write_folder
from dftt.models.draft import DFlashDraft, DraftConfig
from dftt.models.draft_config import config_to_json, parse_config
from dftt.models.layouts import LAYOUTS
from dftt.models.lora import Adapter, check_shapes, merge
from dftt.models.pair import BUNDLED, check_own_vocabulary, find_draft, read_draft
from dftt.models.target import Target
from dftt.types.inputs import reading
from dftt.types.outputs import check_output_folder

_PEFT_CONFIG = "adapter_config.json"
_README = """# A DFlash draft

Written by `python -m dftt.export`.

{loader}

In dftt: `dftt.load_pair(TARGET, FOLDER)`. A server is to propose {count} tokens a block.
"""


def export(draft: str, *, format: str, out: Path, adapter: Path | None = None, target: str = "") -> Path:
    """Write a draft in a format, with an adapter merged into it, and return the folder.

    Args:
        draft: Folder or hub id of a draft, or bundled:smollm2-135m for the one that ships.
        format: zlab, speculators or transformers.
        out: The folder, which must be new or empty.
        adapter: A PEFT folder, or a folder of `ttt.store` that keeps one.
        target: Folder or hub id of the model that the draft is for.

    Raises:
        ValueError: A setting cannot be used, the adapter is not one for the draft, or the format cannot hold the draft.
    """
    if format not in LAYOUTS:
        raise ValueError(f"--format {format!r}: unknown; choose from {', '.join(LAYOUTS)}")
    layout = LAYOUTS[format]
    _check_out(out)
    change = None if adapter is None else _read_adapter(adapter)
    folder = find_draft(None if draft == BUNDLED else draft, target=BUNDLED)
    config = read_config(folder)
    _check_holds(format, config, draft)
    weight_files(folder)
    if change is not None:
        check_shapes(change, config)
    loaded = read_draft(folder, target="", dtype=None)
    own = loaded.own_vocabulary
    if not layout.keeps_vocabulary:
        _check_vocabulary(loaded, format, draft, target)
        own = {}
    weights = (loaded if change is None else merge(loaded, change)).state_dict()
    dtype = next(iter(weights.values())).dtype
    written = layout.config(config_to_json(config, dtype=dtype), target)
    write_folder(out, written, {layout.name_of(name): tensor for name, tensor in weights.items()} | own)
    (out / "README.md").write_text(_README.format(loader=layout.loader, count=config.block_size - 1), encoding="utf-8")
    return out


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: is there already and is no empty folder; name a new one")
    check_output_folder("--out", out)


def _check_holds(format: str, config: DraftConfig, draft: str) -> None:
    """Raise ValueError, naming the field, unless the draft that the format writes is read back as the same."""
    for name in LAYOUTS[format].needs:
        if getattr(config, name) is None:
            raise ValueError(
                f"--format {format} needs {name}, which draft {draft} does not say: add it to its config.json"
            )
    written = LAYOUTS[format].config(config_to_json(config, dtype=torch.float32), "")
    read = parse_config(written, source=f"--format {format} cannot hold draft {draft}")
    for name in (each.name for each in fields(config)):
        if getattr(read, name) != getattr(config, name):
            raise ValueError(
                f"--format {format} has no place for {name}={getattr(config, name)!r} of draft {draft}; choose another "
                "format"
            )


def _read_adapter(folder: Path) -> Adapter:
    """The adapter of a PEFT folder, or the only one of a store; ValueError where there is none, or several."""
    kept = sorted(each.parent for each in folder.glob(f"*/{_PEFT_CONFIG}") if not each.parent.name.startswith("."))
    if kept and not (folder / _PEFT_CONFIG).exists():
        if len(kept) > 1:
            raise ValueError(
                f"--adapter {folder} keeps {len(kept)} adapters; give the folder of one, such as {kept[0]}"
            )
        folder = kept[0]
    with reading(f"adapter {folder} could not be loaded", fix="give a PEFT folder"):
        return Adapter.load(folder)


def _check_vocabulary(draft: DFlashDraft, format: str, name: str, target: str) -> None:
    """Raise ValueError where the draft brings an embedding or a head that may not be the target's."""
    if draft.own_vocabulary and not target:
        raise ValueError(
            f"--format {format} has no place for the own {next(iter(draft.own_vocabulary))} of draft {name}: give "
            "--target, to have it compared with the target's, or --format speculators"
        )
    if draft.own_vocabulary:
        check_own_vocabulary(Target.load(target, dtype=draft.fc.weight.dtype), draft)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export and say where to, as `command_line` runs commands."""
    parser = argparse.ArgumentParser(prog="python -m dftt.export", description=__doc__)
    parser.add_argument("draft", metavar="DRAFT", help=f"folder or hub id; {BUNDLED} for the draft that ships")
    parser.add_argument("--format", required=True, metavar="FORMAT", help=", ".join(LAYOUTS))
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to write, new or empty")
    parser.add_argument(
        "--adapter", type=Path, metavar="FOLDER", help="PEFT folder, or a folder of ttt.store with one; merged in"
    )
    parser.add_argument(
        "--target",
        default="",
        help="folder or hub id of the target: speculators' config.json names it; an own embedding of the draft is "
        "compared with its",
    )
    with command_line():
        print(f"draft: {export(**vars(parser.parse_args(arguments)))}")


if __name__ == "__main__":
    main()
