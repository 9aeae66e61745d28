"""LoRA adapters on the draft, through peft: attach, take off, load and save as standard PEFT folders."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dftt.models.draft import DFlashDraft, DraftConfig
from dftt.types import check_lora

_PREFIX = "base_model.model."  # what PEFT puts before every tensor name in its files
_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_READ_FIELDS = {"peft_type", "r", "lora_alpha", "target_modules"}
# Fields of adapter_config.json that change nothing once an adapter has its weights, and why.
NEUTRAL_FIELDS = {
    "task_type": "which head PEFT looks for",
    "auto_mapping": "the class of the base model",
    "peft_version": "who wrote the file",
    "base_model_name_or_path": "where the base model came from",
    "revision": "where the base model came from",
    "inference_mode": "whether PEFT freezes what it loads",
    "lora_dropout": "for training by PEFT; nothing is dropped here",
    "qalora_group_size": "read with use_qalora only, which is refused",
    "megatron_core": "read with megatron_config only, which is refused",
}
# Starts that leave the base weights alone; the others (pissa, olora, loftq, ...) belong to changed base weights.
_STARTS = (True, False, "gaussian", "eva", "orthogonal")

# Beside the drafts, since a lock cannot be copied or pickled with one.
_LOCKS: WeakKeyDictionary[DFlashDraft, threading.RLock] = WeakKeyDictionary()
_CHOOSING = threading.Lock()


@dataclass(frozen=True)
class Adapter:
    """LoRA weights and what identifies them; ValueError where a setting or a weight cannot be."""

    rank: int
    lora_alpha: float  # the update is multiplied by lora_alpha / rank
    modules: tuple[str, ...]  # names of the projections that carry LoRA
    weights: Mapping[str, Tensor]  # by name, on the CPU, as PEFT names them without its prefix

    def __post_init__(self) -> None:
        object.__setattr__(self, "modules", tuple(self.modules))
        check_lora("adapter", self.rank, self.lora_alpha, self.modules)
        for name, tensor in self.weights.items():
            if not tensor.isfinite().all():
                raise ValueError(f"adapter: {name} holds numbers that are not finite; train it again")

    @property
    def identity(self) -> tuple[int, float, tuple[str, ...]]:
        """Rank, scale and modules (sorted): two adapters are interchangeable only where these are equal."""
        return self.rank, float(self.lora_alpha), tuple(sorted(self.modules))

    @property
    def digest(self) -> str:
        """Hash of the weights."""
        hashed = hashlib.sha256()
        for name in sorted(self.weights):
            hashed.update(name.encode())
            hashed.update(self.weights[name].contiguous().view(-1).numpy().tobytes())
        return hashed.hexdigest()

    def save(self, folder: str | Path) -> Path:
        """Write a PEFT folder (adapter_config.json + adapter_model.safetensors) and return it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _peft_config(self.rank, self.lora_alpha, self.modules).save_pretrained(str(folder))
        save_file({_PREFIX + name: tensor.contiguous() for name, tensor in self.weights.items()}, folder / _WEIGHTS)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Adapter:
        """The adapter of a PEFT folder; ValueError if a file is missing or it holds more than a plain LoRA."""
        folder = Path(folder)
        for name in (_CONFIG, _WEIGHTS):
            if not (folder / name).is_file():
                raise ValueError(f"adapter {folder} has no {name}; give a PEFT folder")
        config = _read_plain_config(folder)
        weights = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(folder / _WEIGHTS).items()}
        for name in weights:
            if not is_adapter_key(name):
                raise ValueError(
                    f"adapter {folder} is not a plain LoRA adapter: its weights hold {name}; accepted are lora_A and "
                    "lora_B"
                )
        return cls(config["r"], float(config["lora_alpha"]), tuple(sorted(config["target_modules"])), weights)


@dataclass(frozen=True)
class Adaptation:
    """An adapter made by test-time training (`dftt.ttt_adapt`), and what making it took.

    Args:
        adapter: The adapter; decode under it by passing the adaptation on.
        losses: Loss before each step.
        seconds: Wall-clock time of the steps, the prefill excluded.
        peak_bytes: Peak memory: allocated on the card, or resident in the process on a CPU.
        stopped: Why it ended before spec.steps, empty where it did not.
        fallbacks: What was given up, in turn, because memory ran out.
        study: Tokens of each text that the target wrote about the context, where it was asked to.
        study_seconds: Wall-clock time of writing them.
    """

    adapter: Adapter
    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int
    stopped: str = ""
    fallbacks: tuple[str, ...] = ()
    study: tuple[tuple[int, ...], ...] = ()
    study_seconds: float = 0.0

    @property
    def all_seconds(self) -> float:
        """Seconds of writing and learning together; 0 where a store had the adapter."""
        return self.seconds + self.study_seconds


def _read_plain_config(folder: Path) -> dict[str, Any]:
    """The adapter_config.json of a plain LoRA; ValueError, naming field and value, for anything more than that."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"adapter {folder}: {_CONFIG} is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"adapter {folder}: {_CONFIG} must hold an object of fields and values, got {config!r}")
    for field, accepted, fits in _judged(config):
        if not fits:
            raise ValueError(
                f"adapter {folder} is not a plain LoRA adapter: {_CONFIG} says {field}={config.get(field)!r}; accepted "
                f"is {accepted}"
            )
    return config


def _judged(config: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Each field that matters, what is accepted there in words, and whether it is that."""
    rank, alpha, modules = (config.get(name) for name in ("r", "lora_alpha", "target_modules"))
    yield "peft_type", "'LORA'", config.get("peft_type") == "LORA"
    yield "r", "a whole number", type(rank) is int
    yield "lora_alpha", "a number", type(alpha) in (int, float)
    listed = isinstance(modules, list) and all(isinstance(name, str) for name in modules)
    yield "target_modules", "a list of module names", listed
    plain = LoraConfig().to_dict()
    for field, value in config.items():
        if field in _READ_FIELDS or field in NEUTRAL_FIELDS:
            continue
        if field == "init_lora_weights":
            yield field, " or ".join(map(repr, _STARTS)), value in _STARTS
        elif field in plain:
            yield field, repr(plain[field]), value == plain[field]
        else:  # of another version of PEFT, whose new fields are off where they say nothing
            yield field, "a field that is off or left out", not value


@torch.inference_mode(False)  # a tensor made in inference mode could never learn
def attach_(
    draft: DFlashDraft, *, rank: int, lora_alpha: float, modules: Iterable[str], seed: int
) -> list[nn.Parameter]:
    """Put a fresh adapter on the draft and return its parameters, in float32 or better whatever the draft's precision.

    Only these require gradients; products with them are made in the draft's precision. B starts at zero, so no logit
    changes; A is drawn from `seed`, the same on every device, without touching any global random state.
    """
    names = tuple(modules)
    check_lora("adapter", rank, lora_alpha, names)
    if is_attached(draft):
        raise ValueError("draft already carries an adapter; detach it first")
    # PEFT draws from the global generator. The CPU's alone is seeded, and given back; torch.manual_seed would
    # seed those of all cards as well.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(_peft_config(rank, lora_alpha, names), draft)
    draft.requires_grad_(False)
    parameters = []
    for layer in _lora_layers(draft).values():
        # PEFT would copy its input, all the context's features, to float32, and keep the copies for the backward pass.
        layer.cast_input_dtype_enabled = False
        for part in (layer.lora_A, layer.lora_B):
            for linear in cast(Iterable[nn.Linear], part.values()):
                linear.to(torch.promote_types(linear.weight.dtype, torch.float32)).requires_grad_(True)
                linear.__class__ = _InputPrecision
                parameters.append(linear.weight)
    return parameters


def detach_(draft: DFlashDraft) -> None:
    """Take the adapter off; the draft is bitwise what it was before, since base weights are never merged into."""
    for name, layer in _lora_layers(draft).items():
        parent = draft.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], layer.get_base_layer())
    if hasattr(draft, "peft_config"):
        del draft.peft_config


@contextmanager
def only_user(draft: DFlashDraft) -> Iterator[None]:
    """Inside the block, no other thread decodes with the draft or adapts it; the thread itself may enter again."""
    with _CHOOSING:
        lock = _LOCKS.setdefault(draft, threading.RLock())
    with lock:
        yield


@contextmanager
def applied(draft: DFlashDraft, adapter: Adapter | Adaptation | None) -> Iterator[None]:
    """The draft under an adapter inside the block, bitwise the base draft after it; None changes nothing.

    Another thread that wants the same draft waits: whatever the adapter, there is one set of modules.
    """
    adapter = adapter.adapter if isinstance(adapter, Adaptation) else adapter
    with only_user(draft):
        if adapter is None:
            yield
            return
        attach_(draft, rank=adapter.rank, lora_alpha=adapter.lora_alpha, modules=adapter.modules, seed=0)
        try:
            load_weights_(draft, adapter.weights)
            draft.requires_grad_(False)
            yield
        finally:
            detach_(draft)


def sharing_copy(draft: DFlashDraft, adapter: Adapter | None) -> DFlashDraft:
    """A second draft under `adapter` (None: under none); it shares its base weights with `draft`, which is left alone.

    For drafts that take turns within a cycle, where attaching and detaching would cost more than the passes.
    """
    shared: dict[int, Any] = {id(parameter): parameter for parameter in draft.parameters()}
    twin = copy.deepcopy(draft, shared)
    detach_(twin)
    if adapter is not None:
        attach_(twin, rank=adapter.rank, lora_alpha=adapter.lora_alpha, modules=adapter.modules, seed=0)
        load_weights_(twin, adapter.weights)
    return twin.requires_grad_(False)


@torch.inference_mode(False)
@torch.no_grad()
def merge(draft: DFlashDraft, adapter: Adapter | Adaptation) -> DFlashDraft:
    """A copy of the draft with the adapter in its weights, summed in float32 or better and rounded once.

    ValueError if the adapter is not one for this draft, or the draft carries one now.
    """
    adapter = adapter.adapter if isinstance(adapter, Adaptation) else adapter
    with only_user(draft):
        merged = copy.deepcopy(draft)
    attach_(merged, rank=adapter.rank, lora_alpha=adapter.lora_alpha, modules=adapter.modules, seed=0)
    load_weights_(merged, adapter.weights)
    for layer in _lora_layers(merged).values():
        weight = cast(nn.Linear, layer.get_base_layer()).weight
        (name,) = layer.active_adapters
        update = cast(Any, layer).get_delta_weight(name)
        weight.data = (weight.to(update.dtype) + update).to(weight.dtype)
    detach_(merged)
    return merged.requires_grad_(False)


def read_weights(draft: DFlashDraft) -> dict[str, Tensor]:
    """Copies of the attached adapter's tensors, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in get_peft_model_state_dict(draft).items()}


def load_weights_(draft: DFlashDraft, weights: Mapping[str, Tensor]) -> None:
    """Put tensors into the attached adapter; ValueError unless names and shapes are exactly its own."""
    _check_weights(draft, weights)
    set_peft_model_state_dict(draft, dict(weights))


def check_shapes(adapter: Adapter, config: DraftConfig) -> None:
    """Raise ValueError unless the adapter fits drafts of this shape; no weights of a draft are needed for it."""
    with torch.device("meta"):
        draft = DFlashDraft(config)
    attach_(draft, rank=adapter.rank, lora_alpha=adapter.lora_alpha, modules=adapter.modules, seed=0)
    _check_weights(draft, adapter.weights)


def _check_weights(draft: DFlashDraft, weights: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in get_peft_model_state_dict(draft).items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if given.keys() != expected.keys():
        raise ValueError(f"adapter does not fit this draft: {describe_key_mismatch(set(expected), set(given))}")
    for name, shape in expected.items():
        if given[name] != shape:
            raise ValueError(f"adapter does not fit this draft: its {name} is {given[name]}, this draft's {shape}")


def describe_key_mismatch(expected: set[str], given: set[str]) -> str:
    """Which names are missing and which are unexpected, the first three of each."""
    kinds = {"missing": sorted(expected - given), "unexpected": sorted(given - expected)}
    parts = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in kinds.items() if names]
    return f"tensors {', '.join(parts)}" if parts else "shapes differ"


def is_attached(draft: DFlashDraft) -> bool:
    """Whether the draft carries an adapter now."""
    return bool(_lora_layers(draft))


def base_of(module: nn.Module) -> nn.Module:
    """The module that an adapter was put around, or the module itself where it carries none."""
    return cast(nn.Module, module.get_base_layer()) if isinstance(module, LoraLayer) else module


def is_fresh(adapter: Adapter) -> bool:
    """Whether every B matrix is still zero, so that the adapter changes nothing."""
    return not any(tensor.any() for name, tensor in adapter.weights.items() if ".lora_B." in name)


def is_adapter_key(name: str) -> bool:
    """Whether a state-dict name belongs to an adapter."""
    return ".lora_A." in name or ".lora_B." in name


class _InputPrecision(nn.Linear):
    """A linear map whose weight is stored as it is and multiplied in the precision of its input."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight.to(input.dtype))


def _lora_layers(draft: DFlashDraft) -> dict[str, LoraLayer]:
    return {name: module for name, module in draft.named_modules() if isinstance(module, LoraLayer)}


def _peft_config(rank: int, lora_alpha: float, modules: Iterable[str]) -> LoraConfig:
    # peft declares lora_alpha an int but computes lora_alpha / r with whatever it is given.
    alpha: Any = int(lora_alpha) if float(lora_alpha).is_integer() else lora_alpha
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=sorted(modules), lora_dropout=0.0, bias="none")
