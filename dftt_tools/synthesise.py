"""`python -m dftt_tools.synthesise`: the text a draft is trained on, written by the target itself.

    prompts    user turns sampled from the target's own chat template, and prompt files
    chats      the target's responses to prompts (greedy or sampled), one sequence each
    documents  long texts (worlds, manuals, packed chats), a share of them with a question and the target's answer or
               with its continuation

Prompts and responses go to a TokenCorpus that `fit` reads. Only the responses, and the documents themselves, are asked
for.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from rich.logging import RichHandler

from dftt.adaptation.steps import is_out_of_memory
from dftt.adaptation.token_corpus import TokenCorpus
from dftt.command import command_line
from dftt.decoding.engine import Engine
from dftt.decoding.queue import decode_queue
from dftt.decoding.sampling import sample_key
from dftt.models.pair import BUNDLED
from dftt.models.target import Target, encode
from dftt.types import DecodingSpec
from dftt.types.outputs import check_output_folder
from dftt_tools.corpus.jsonl import read_rows
from dftt_tools.corpus.prompts import load_prompts
from dftt_tools.corpus.templated_prompts import chat_prompts, code_prompts, math_prompts
from dftt_tools.corpus.worlds import QUESTIONS, generate_world

CACHE_TOKENS = 1_600_000  # rows x positions whose keys and values exist at once

logger = logging.getLogger("dftt_tools.synthesise")


@dataclass(frozen=True)
class TrainingText:
    """A finished training sequence: tokens, and how many of the first are not asked for."""

    tokens: list[int]
    free: int


def respond(
    target: Target, prompts: Sequence[Sequence[int]], spec: DecodingSpec, *, rows: int, name: str
) -> Iterator[tuple[int, list[int]]]:
    """The target's answer to each prompt, as (index, new tokens), in the order in which they are finished.

    Prompts of similar length are decoded together, up to `rows` at a time, or half as many each time that memory runs
    out.
    """

    def start(indices: Sequence[int], *, longest_prompt: int = 0) -> Engine:
        ids = [prompts[index] for index in indices]
        keys = [sample_key(spec.seed, f"{name}/{index}") for index in indices]
        return Engine(target, None, spec, ids, [None] * len(ids), keys, longest_prompt=longest_prompt)

    lengths = [len(prompt) + spec.max_new_tokens for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: lengths[index])
    begun, made, answered = time.perf_counter(), 0, 0
    # All rows of an engine have room for its longest prompt. Where that is too much, lengths within a power of two
    # have an engine of their own, with as many rows as fit.
    fits = rows * max(lengths, default=0) <= CACHE_TOKENS
    waiting = [list(group) for _, group in groupby(order, key=lambda i: 0 if fits else lengths[i].bit_length())]
    while waiting:
        indices = waiting.pop(0)
        count = max(1, min(rows, CACHE_TOKENS // lengths[indices[-1]]))
        finished_here = set()
        try:
            engine = start(indices[:count], longest_prompt=len(prompts[indices[-1]]))
            for finished in decode_queue(engine, indices, start):
                finished_here.add(finished.request)
                made, answered = made + len(finished.token_ids), answered + 1
                yield finished.request, finished.token_ids
                if answered % rows == 0 or answered == len(prompts):
                    rate = made / (time.perf_counter() - begun)
                    logger.info("%s: %d of %d answered, %.0f tokens/s", name, answered, len(prompts), rate)
        except RuntimeError as error:
            if not is_out_of_memory(error) or count == 1:
                raise
            rows = count // 2
            waiting[:0] = [left] if (left := [index for index in indices if index not in finished_here]) else []
            logger.warning("%s: out of memory with %d rows; going on with %d", name, count, rows)
        engine = None  # its caches make room for those of the next
        if target.device.type == "cuda":
            torch.cuda.empty_cache()


def sample_user_turns(target: Target, count: int, *, seed: int, rows: int, max_new_tokens: int = 96) -> list[str]:
    """Distinct user turns, sampled at temperature 1 from the chat template cut where the user would speak."""
    marker = "\u2063"
    text = target.tokenizer.apply_chat_template([{"role": "user", "content": marker}], tokenize=False)
    opening = list(target.tokenizer(text.split(marker)[0], add_special_tokens=False).input_ids)
    spec = DecodingSpec(mode="target", max_new_tokens=max_new_tokens, temperature=1.0, seed=seed)
    turns: dict[str, None] = {}
    answers = respond(target, [opening] * count, spec, rows=rows, name="user turns")
    eos = set(target.eos_token_ids)
    for _, tokens in answers:
        turn = target.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        if tokens and tokens[-1] in eos and len(turn) >= 12:
            turns[turn] = None
    return list(turns)


def chat_sequences(
    target: Target,
    prompts: Sequence[str],
    *,
    max_prompt_tokens: int,
    greedy: float,
    seed: int,
    rows: int,
    max_new_tokens: int,
) -> list[TrainingText]:
    """Prompt and response of each prompt: a share `greedy` of them at temperature 0, the others at 0.7."""
    encoded = [encode(target.tokenizer, [{"role": "user", "content": prompt}]) for prompt in prompts]
    encoded = [ids for ids in encoded if len(ids) <= max_prompt_tokens]
    border = round(greedy * len(encoded))
    sequences = []
    for part, temperature in ((encoded[:border], 0.0), (encoded[border:], 0.7)):
        spec = DecodingSpec(mode="target", max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        for index, tokens in respond(target, part, spec, rows=rows, name=f"chats T={temperature}"):
            if len(tokens) >= 4:
                sequences.append(TrainingText([*part[index], *tokens], len(part[index])))
    return sequences


def document_sequences(
    target: Target,
    texts: Sequence[str],
    chats: Sequence[TrainingText],
    *,
    count: int,
    length: int,
    seed: int,
    rows: int,
    max_new_tokens: int,
    answered: float,
) -> list[TrainingText]:
    """Long sequences of up to `length` tokens: documents with a question, documents to continue, and packed chats.

    The whole document is asked for, not only the answer: test-time training will ask for such text too. The target
    answers or continues a share `answered` of them; the others stay as they are.
    """
    rng = random.Random(seed)
    openings: list[list[int]] = []
    for number in range(count):
        room = rng.randint(length // 4, length) - max_new_tokens
        if number % 5 == 4 and chats:
            packed: list[int] = []
            while len(packed) < room:
                packed += rng.choice(chats).tokens
            openings.append(packed[:room])
            continue
        text = texts[number % len(texts)]
        ids = list(target.tokenizer(text, add_special_tokens=False).input_ids)[: room - 80]
        if number % 5 == 3:
            openings.append(ids)
            continue
        body = target.tokenizer.decode(ids)
        question = rng.choice(QUESTIONS)
        content = f"{body}\n\n{question}" if rng.random() < 0.7 else f"{question}\n\n{body}"
        openings.append(encode(target.tokenizer, [{"role": "user", "content": content}]))
    sequences = []
    border = round(answered * len(openings))
    sequences += [TrainingText(opening, 0) for opening in openings[border:]]
    for half, temperature in ((0, 0.0), (1, 0.7)):
        spec = DecodingSpec(mode="target", max_new_tokens=max_new_tokens, temperature=temperature, seed=seed + 1)
        part = openings[:border][half::2]
        for index, tokens in respond(target, part, spec, rows=rows, name=f"documents T={temperature}"):
            sequences.append(TrainingText([*part[index], *tokens], 0))
    return sequences


def read_texts(paths: Sequence[str]) -> list[str]:
    """The `text` of every row of JSONL(.gz) files."""
    texts = []
    for path in paths:
        for place, row in read_rows(Path(path)):
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError(f"{place}: needs a string 'text'")
            texts.append(row["text"])
    return texts


def to_corpus(sequences: Sequence[TrainingText]) -> TokenCorpus:
    """Corpus of finished sequences."""
    return TokenCorpus.of([sequence.tokens for sequence in sequences], [sequence.free for sequence in sequences])


def make_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m dftt_tools.synthesise", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--target", default=BUNDLED, help="target model: hub id, folder or bundled:smollm2-135m")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16" if torch.cuda.is_available() else "float32")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for chats.*.safetensors, documents.*.safetensors and report.*.json",
    )
    parser.add_argument("--user-turns", type=int, default=24000, help="user turns to sample from the target itself")
    parser.add_argument("--templated", type=int, default=6000, help="prompts of each templated kind (chat, code, math)")
    parser.add_argument(
        "--max-prompts", type=int, default=0, help="take so many of all prompts, at random; 0 takes all"
    )
    parser.add_argument("--max-prompt-tokens", type=int, default=512, help="leave out longer prompts")
    parser.add_argument(
        "--greedy", type=float, default=0.5, help="share of responses at temperature 0; the others at 0.7"
    )
    parser.add_argument("--prompts", nargs="*", default=[], help="JSONL(.gz) files with `id` and `prompt`")
    parser.add_argument(
        "--drop-ids", default=None, help="JSON file with ids to leave out because they overlap evaluation sets"
    )
    parser.add_argument(
        "--texts", nargs="*", default=[], help="JSONL(.gz) files with `text`: long documents (see corpus.manuals)"
    )
    parser.add_argument("--worlds", type=int, default=3000, help="generated documents")
    parser.add_argument("--documents", type=int, default=4000, help="long sequences")
    parser.add_argument(
        "--answered", type=float, default=1.0, help="share of documents that the target answers or continues"
    )
    parser.add_argument("--document-length", type=int, default=4096, help="longest sequence, in tokens")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--rows", type=int, default=2048, help="rows decoded together for chats")
    parser.add_argument("--long-rows", type=int, default=256, help="rows decoded together for documents")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--shard", type=int, nargs=2, default=[0, 1], metavar=("I", "N"), help="do part I of N, for several cards"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the corpora and a report of what they hold, as `command_line` runs commands."""
    with command_line():
        synthesise(make_parser().parse_args(arguments))


def synthesise(args: argparse.Namespace) -> None:
    """Write the corpora and a report of what they hold.

    Args:
        args: As `make_parser` reads them.

    Raises:
        ValueError: A file, the target or a setting cannot be used.
    """
    check_output_folder("--out", args.out)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    target = Target.load(args.target, device=args.device, dtype=args.dtype)
    shard, num_shards = args.shard
    # A shard samples user turns under a seed of its own and takes every num_shards-th of all that is made by rule.
    own_seed = args.seed * 1000 + shard
    turns = (
        sample_user_turns(target, args.user_turns // num_shards, seed=own_seed, rows=args.rows)
        if args.user_turns
        else []
    )
    templated = [
        prompt
        for make in (chat_prompts, code_prompts, math_prompts)
        for prompt in (make(args.seed, args.templated) if args.templated else [])
    ]
    files = load_prompts(args.prompts, args.drop_ids) if args.prompts else []
    prompts = list(dict.fromkeys([*turns, *templated[shard::num_shards], *files[shard::num_shards]]))
    random.Random(own_seed).shuffle(prompts)
    chats = chat_sequences(
        target,
        prompts[: args.max_prompts or None],
        max_prompt_tokens=args.max_prompt_tokens,
        greedy=args.greedy,
        seed=own_seed,
        rows=args.rows,
        max_new_tokens=args.max_new_tokens,
    )
    to_corpus(chats).save(args.out / f"chats.{shard}.safetensors")
    worlds = [
        generate_world(args.seed * 1_000_000 + number, 300 + 2700 * number // args.worlds)
        for number in range(args.worlds)
    ]
    texts = [*read_texts(args.texts), *worlds]
    random.Random(args.seed).shuffle(texts)
    documents = document_sequences(
        target,
        texts[shard::num_shards],
        chats,
        count=args.documents // num_shards if texts else 0,
        length=args.document_length,
        seed=own_seed,
        rows=args.long_rows,
        max_new_tokens=args.max_new_tokens,
        answered=args.answered,
    )
    to_corpus(documents).save(args.out / f"documents.{shard}.safetensors")
    report = {
        "prompts": {
            "user_turns": len(turns),
            "templated": len(templated),
            "files": len(files),
            "of_this_shard": len(prompts),
        },
        "chats": len(chats),
        "chat_tokens": sum(len(chat.tokens) for chat in chats),
        "documents": len(documents),
        "document_tokens": sum(len(document.tokens) for document in documents),
    }
    (args.out / f"report.{shard}.json").write_text(json.dumps(report, indent=2) + "\n")
    logger.info("%s", report)


if __name__ == "__main__":
    main()
