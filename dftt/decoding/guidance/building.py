"""Sources by name: what each is made of, and what is missing where it cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dftt.decoding.drafter import DFlashDrafter, Drafter
from dftt.decoding.guidance.materials import Materials
from dftt.decoding.guidance.second_reader import SecondReader
from dftt.decoding.guidance.sources import (
    DolaLayer,
    DraftLogits,
    EarlyExit,
    NoiseLogits,
    TargetLogits,
    UniformLogits,
)
from dftt.decoding.guidance.step import Source
from dftt.models.lora import sharing_copy
from dftt.models.target import Target, check_window
from dftt.types.guidance import layers_of


@dataclass(frozen=True)
class Request:
    """A source by name, and all that one may be made of.

    Args:
        name: As in `GuidanceSpec`.
        inclusive: Its draft sees the features at the anchor.
        target: The target.
        drafter: The engine's own drafter.
        prompts: Token ids, one sequence per row.
        materials: Adapters, prompts and models that the name may stand for.
    """

    name: str
    inclusive: bool
    target: Target
    drafter: Drafter | None
    prompts: Sequence[Sequence[int]]
    materials: Materials


def build_source(request: Request) -> Source:
    """The source that is asked for.

    Raises:
        ValueError: If it needs something that is not there, or that does not fit; the message names the fix.
    """
    return _BUILDERS[request.name.partition(":")[0]](request)


def _own_draft(request: Request) -> DraftLogits:
    return DraftLogits(_dflash(request), inclusive=request.inclusive, is_own=False)


def _other_draft(request: Request) -> DraftLogits:
    adapter = None
    if request.name != "base":
        adapter = request.materials.adapters.get(request.name)
        if adapter is None:
            raise ValueError(
                f"guidance by source {request.name!r} needs an adapter of that name: pass "
                f"materials=Materials(adapters={{{request.name!r}: adapter}})"
            )
    twin = DFlashDrafter(sharing_copy(_dflash(request).draft, adapter), request.target)
    return DraftLogits(twin, inclusive=request.inclusive, is_own=True)


def _noise(request: Request) -> NoiseLogits:
    return NoiseLogits(_own_draft(request), request.name.partition(":")[2])


def _without_context(request: Request) -> SecondReader:
    questions = [prompt.input_ids for prompt in request.materials.without_context]
    if len(questions) != len(request.prompts):
        raise ValueError(
            f"guidance by source 'without_context' needs {len(request.prompts)} prompts without context, got "
            f"{len(questions)}: pass materials=Materials(without_context=[prompt, ...]), one per row"
        )
    return SecondReader(request.target, request.prompts, questions)


def _amateur(request: Request) -> SecondReader:
    amateur, target = request.materials.amateur, request.target
    if amateur is None:
        raise ValueError("guidance by source 'amateur' needs a model: pass materials=Materials(amateur=Target.load(…))")
    if amateur.vocab_size != target.vocab_size:
        raise ValueError(
            f"amateur {amateur.name!r} has a vocabulary of {amateur.vocab_size}, the target {target.name!r} of "
            f"{target.vocab_size}: contrast needs the same one"
        )
    check_window(amateur.window, max(map(len, request.prompts)), name=f"prompt for the amateur {amateur.name!r}")
    return SecondReader(amateur, request.prompts, request.prompts)


def _early_exit(request: Request) -> EarlyExit:
    (layer,) = layers_of(request.name)
    _check_layers(request, (layer,), first=1)
    return EarlyExit(request.target, layer)


def _dola(request: Request) -> DolaLayer:
    layers = layers_of(request.name) or dola_layers(
        request.target.num_layers,
        half=request.name.partition(":")[2] or "low",
        tied=bool(getattr(request.target.config, "tie_word_embeddings", False)),
    )
    _check_layers(request, layers, first=0)
    return DolaLayer(request.target, layers)


def dola_layers(num_layers: int, *, half: str, tied: bool) -> tuple[int, ...]:
    """Candidates of DoLa: every other layer of the lower or upper half, of at most 20 layers.

    The embedding output (0) is a candidate unless the head is tied to it: it would then repeat the input token.
    """
    size = min(num_layers // 2, 20)
    first, last = (2 if tied else 0, size) if half == "low" else (num_layers - size, num_layers)
    return tuple(range(first, last, 2)) or (last - 1,)


def _check_layers(request: Request, layers: Sequence[int], *, first: int) -> None:
    for layer in layers:
        if not first <= layer < request.target.num_layers:
            raise ValueError(
                f"guidance source {request.name!r} names layer {layer}; {request.target.name!r} has "
                f"{request.target.num_layers}: choose from {first} to {request.target.num_layers - 1}"
            )


def _dflash(request: Request) -> DFlashDrafter:
    if not isinstance(request.drafter, DFlashDrafter):
        raise ValueError("guided decoding needs the draft itself, not a scripted drafter")
    return request.drafter


_BUILDERS: dict[str, Callable[[Request], Source]] = {
    "target": lambda _: TargetLogits(),
    "uniform": lambda _: UniformLogits(),
    "draft": _own_draft,
    "base": _other_draft,
    "other": _other_draft,
    "generic": _other_draft,
    "without_context": _without_context,
    "amateur": _amateur,
    "early_exit": _early_exit,
    "dola": _dola,
    "noise": _noise,
}
