"""The public functions: one prompt or many, under an adapter or not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypedDict, Unpack, cast, overload

from dftt.decoding.drafter import DFlashDrafter, Drafter
from dftt.decoding.drafters import make_drafters
from dftt.decoding.engine import Engine
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.on_policy import Learner, learning_engine
from dftt.decoding.queue import Finished, OnTokens, decode_queue
from dftt.decoding.sampling import sample_key
from dftt.decoding.schedule import BlockScheduler
from dftt.models.lora import Adaptation, Adapter, applied
from dftt.models.pair import Pair
from dftt.models.spans import KEYS_PER_TILE
from dftt.models.target import check_tokens, check_window
from dftt.types import DecodingSpec, Generation, Prefill, Prompt
from dftt.types.checks import finite, whole

Adapted = Adapter | Adaptation | None


class Options(TypedDict, total=False):
    """The options of `generate`, for type checkers; its docstring explains them."""

    adaptation: Adapted | Sequence[Adapted]
    prefill: Prefill | Sequence[Prefill] | None
    sample_names: Sequence[str] | None
    drafter: Drafter | None
    materials: Materials | None
    scheduler: BlockScheduler | None
    learner: Learner | None
    rows: int | None
    alphas: Sequence[float]
    on_tokens: OnTokens | None


@dataclass(frozen=True)
class _Request:
    """One prompt, with what is decided for it alone."""

    prompt: Prompt
    prefill: Prefill | None
    key: int
    question: Prompt | None = None
    alpha: float | None = None

    @property
    def shortening(self) -> int:
        """How many tokens shorter the prompt is without its context."""
        return len(self.prompt) - len(self.question) if self.question is not None else 0


@overload
def generate(
    pair: Pair, prompt: Prompt, spec: DecodingSpec = ..., **options: Unpack[Options]
) -> Generation: ...  # fmt: skip
@overload
def generate(
    pair: Pair, prompt: Sequence[Prompt], spec: DecodingSpec = ..., **options: Unpack[Options]
) -> list[Generation]: ...  # fmt: skip
def generate(
    pair: Pair,
    prompt: Prompt | Sequence[Prompt],
    spec: DecodingSpec = DecodingSpec(),
    *,
    adaptation: Adapted | Sequence[Adapted] = None,
    prefill: Prefill | Sequence[Prefill] | None = None,
    sample_names: Sequence[str] | None = None,
    drafter: Drafter | None = None,
    materials: Materials | None = None,
    scheduler: BlockScheduler | None = None,
    learner: Learner | None = None,
    rows: int | None = None,
    alphas: Sequence[float] = (),
    on_tokens: OnTokens | None = None,
) -> Generation | list[Generation]:
    """Decode one prompt, or several side by side; none of them changes another's tokens.

    Args:
        pair: Target and draft.
        prompt: A prompt, or several.
        spec: How to decode.
        adaptation: Decode under this adapter, given as it is or as the Adaptation that it came in; the pair is the base
            pair again afterwards. Or one per prompt: those of one adapter are decoded together.
        prefill: Prefills of the prompts, or of their first tokens (the rest is read then); made here where not given.
            One for all prompts is stored once for all rows, where kernels can read it there.
        sample_names: One name per prompt that keys its noise; by default the prompt's own tokens, so that a prompt
            draws the same tokens wherever and beside whatever it is decoded.
        drafter: Proposes instead of the pair's draft.
        materials: What the rule of guidance needs besides the pair, such as the prompt without its context.
        scheduler: Chooses the block size of every cycle; it may be kept for the next prompts.
        learner: Changes the draft on the way, from the tokens that have been verified; one prompt, mode speculative.
        rows: Prompts decoded at a time, the next one in the place of one that is finished; by default all at once.
        alphas: One weight of guidance per prompt, none of them 0, instead of the spec's: a prompt under several weights
            is read once and decoded side by side.
        on_tokens: Called with (number of the prompt, new token ids) after every cycle, for streaming.

    Raises:
        ValueError: If a prompt and its answer do not fit the target's window, the spec does not fit the draft, or the
            rule of guidance lacks a material, or a learner is given with another mode, or with several prompts, or
            alphas, names, rows or prefills are given that cannot be followed, or a token is none of the target's, or
            something that proposes is passed in beside lookup.
    """
    prompts = [prompt] if isinstance(prompt, Prompt) else list(prompt)
    materials = materials or Materials()
    _check_batch(prompts, rows, drafter, materials)
    _check_alphas(alphas, spec, len(prompts))
    if spec.drafter != "draft" and (drafter, scheduler, learner) != (None, None, None):
        raise ValueError(f"decoding.drafter {spec.drafter} goes with no drafter, scheduler or learner passed in")
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    _check_tokens(pair, spec, prompts, materials.without_context)
    requests = _requests(pair, spec, prompts, prefill, sample_names, materials.without_context, alphas)
    make = partial(_engine, pair, spec, requests, materials, drafter, scheduler, learner)
    finished: dict[int, Generation] = {}
    for under, numbers in _by_adapter(len(prompts), adaptation):
        with applied(pair.draft, under):
            # The first rows must be those that have most to read without their context.
            order = sorted(numbers, key=lambda number: requests[number].shortening)
            study = under.study if isinstance(under, Adaptation) and spec.lookup_study else ()
            start = partial(make, _shared(pair, prompts, prefill), study)
            engine = start(order[:rows], longest_prompt=max(len(prompts[number]) for number in numbers))
            learnt = learner.seconds if learner is not None else 0.0
            for each in decode_queue(engine, order, start, on_tokens=on_tokens):
                seconds = each.seconds - (learner.seconds - learnt if learner is not None else 0.0)
                finished[each.request] = _generation(pair, each, seconds)
    generations = [finished[number] for number in range(len(prompts))]
    return generations[0] if isinstance(prompt, Prompt) else generations


def guided_generate(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    *,
    adaptation: Adapted = None,
    prefill: Prefill | None = None,
    materials: Materials | None = None,
) -> Generation:
    """`generate` in mode guided: at every position target + alpha * (draft - target), or what spec.guidance says."""
    spec = replace(spec, mode="guided")
    return generate(pair, prompt, spec, adaptation=adaptation, prefill=prefill, materials=materials)


def resolve_sizes(spec: DecodingSpec, trained: int) -> DecodingSpec:
    """The spec with its block and verify sizes filled in.

    Raises:
        ValueError: If either is larger than the block the draft was trained with.
    """
    block = spec.block_size or trained
    verify = spec.verify_size or block
    for name, size in (("block_size", block), ("verify_size", verify)):
        if size > trained:
            raise ValueError(f"decoding.{name} is {size}, but the draft was trained with blocks of {trained}")
    return replace(spec, block_size=block, verify_size=verify)


def _engine(
    pair: Pair,
    spec: DecodingSpec,
    requests: Sequence[_Request],
    materials: Materials,
    drafter: Drafter | None,
    scheduler: BlockScheduler | None,
    learner: Learner | None,
    shared: int,
    study: Sequence[Sequence[int]],
    numbers: Sequence[int],
    *,
    longest_prompt: int = 0,
) -> Engine:
    """An engine that holds the requests of these numbers, under the adapter that the draft has now."""
    first, second = (drafter, None) if drafter is not None else make_drafters(pair, spec, study)
    rows = [requests[number] for number in numbers]
    ids, prefills, keys = [row.prompt.input_ids for row in rows], [row.prefill for row in rows], [r.key for r in rows]
    if learner is not None:
        if not isinstance(first, DFlashDrafter):
            raise ValueError("a learner changes the pair's draft: leave drafter out, and use mode speculative")
        return learning_engine(pair, spec, first, ids, prefills, keys, learner, scheduler=scheduler)
    return Engine(
        pair.target,
        first,
        spec,
        ids,
        prefills,
        keys,
        second=second,
        materials=replace(materials, without_context=[row.question for row in rows if row.question is not None]),
        scheduler=scheduler,
        longest_prompt=longest_prompt,
        shared=shared,
        alphas=[row.alpha for row in rows if row.alpha is not None],
    )


def _check_batch(prompts: Sequence[Prompt], rows: int | None, drafter: Drafter | None, materials: Materials) -> None:
    if not prompts:
        raise ValueError("no prompt given: pass at least one")
    if rows is not None:
        whole("rows", rows, 1)
    if drafter is not None and rows is not None and rows < len(prompts):
        raise ValueError(f"a given drafter proposes for all {len(prompts)} prompts at once: leave out rows, got {rows}")
    if len(materials.without_context) not in (0, len(prompts)):
        raise ValueError(
            f"{len(materials.without_context)} prompts without context given for {len(prompts)} prompts: give one each"
        )


def _check_alphas(alphas: Sequence[float], spec: DecodingSpec, count: int) -> None:
    if not alphas:
        return
    if spec.mode != "guided" or spec.rule.alpha == 0:
        raise ValueError(f"alphas need mode guided and an alpha in the spec, got mode {spec.mode}, {spec.rule.alpha}")
    if len(alphas) != count:
        raise ValueError(f"{len(alphas)} alphas given for {count} prompts: give one for each")
    for number, alpha in enumerate(alphas):
        finite(f"alphas[{number}]", alpha)
    if 0 in alphas:
        raise ValueError(f"alphas {list(alphas)}: at 0 nothing guides; decode that prompt in mode target")


def _check_tokens(pair: Pair, spec: DecodingSpec, prompts: Sequence[Prompt], questions: Sequence[Prompt]) -> None:
    for each in (*prompts, *questions):
        check_tokens(pair.target.vocab_size, each.input_ids)
    check_tokens(pair.target.vocab_size, spec.eos_token_ids, name="decoding.eos_token_ids")
    for each in prompts:
        check_window(pair.target.window, len(each), spec.max_new_tokens)


def _requests(
    pair: Pair,
    spec: DecodingSpec,
    prompts: Sequence[Prompt],
    prefill: Prefill | Sequence[Prefill] | None,
    names: Sequence[str] | None,
    questions: Sequence[Prompt],
    alphas: Sequence[float],
) -> list[_Request]:
    """What is decoded, one request per prompt.

    Raises:
        ValueError: If names or prefills do not fit the prompts one to one, or a prefill is not the pair's.
    """
    if names is None:
        names = [hashlib.sha256(repr(each.input_ids).encode()).hexdigest() for each in prompts]
    elif isinstance(names, str) or len(names) != len(prompts):
        raise ValueError(f"sample_names {names!r} given for {len(prompts)} prompts: give a list with one name for each")
    prefills = [prefill] * len(prompts) if prefill is None or isinstance(prefill, Prefill) else list(prefill)
    if len(prefills) != len(prompts):
        raise ValueError(
            f"{len(prefills)} prefills given for {len(prompts)} prompts: give one for each, or one for all"
        )
    for each, known in zip(prompts, prefills, strict=True):
        if known is not None:
            pair.check_prefill(known)
        if known is not None and each.input_ids[: len(known)] != known.input_ids:
            raise ValueError(
                f"a prefill of {len(known)} tokens is not of the first tokens of its prompt ({len(each)} tokens)"
            )
    keys = [sample_key(spec.seed, name) for name in names]
    asked, weights = questions or [None] * len(prompts), alphas or [None] * len(prompts)
    return [_Request(*each) for each in zip(prompts, prefills, keys, asked, weights, strict=True)]


def _shared(pair: Pair, prompts: Sequence[Prompt], prefill: Prefill | Sequence[Prefill] | None) -> int:
    """How many tokens of a prefill that is given for several prompts can be stored once for all of them."""
    # Without the kernels every pass would have to copy them to each row: slower, for memory that a CPU has.
    if not isinstance(prefill, Prefill) or len(prompts) == 1 or not pair.target.reads_spans:
        return 0
    return min(len(prefill), min(map(len, prompts)) - 1) // KEYS_PER_TILE * KEYS_PER_TILE


def _by_adapter(count: int, adaptation: Adapted | Sequence[Adapted]) -> list[tuple[Adapted, list[int]]]:
    """Each adapter, and the numbers of the prompts that are decoded under it."""
    given = list(adaptation) if isinstance(adaptation, Sequence) else [adaptation] * count
    if len(given) != count:
        raise ValueError(f"{len(given)} adaptations given for {count} prompts: give one for each, or one for all")
    groups: dict[int, tuple[Adapted, list[int]]] = {}
    for number, each in enumerate(given):
        adapter = each.adapter if isinstance(each, Adaptation) else each
        groups.setdefault(id(adapter), (each, []))[1].append(number)
    return list(groups.values())


def _generation(pair: Pair, finished: Finished, seconds: float) -> Generation:
    row, tokens = finished.row, finished.token_ids
    return Generation(
        text=pair.target.tokenizer.decode(tokens, skip_special_tokens=True),
        token_ids=tuple(tokens),
        acceptance_lengths=tuple(row.acceptance_lengths),
        finish_reason=cast(Literal["eos", "length"], row.finish_reason),
        target_calls=row.target_calls,
        seconds=seconds,
    )
