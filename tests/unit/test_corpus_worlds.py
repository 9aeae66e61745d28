"""Invented documents: length, determinism, genres, and facts that stay the same."""

from __future__ import annotations

import re
import time

import pytest

from dftt_tools.corpus.blocks import BLOCKS
from dftt_tools.corpus.genres import GENRES
from dftt_tools.corpus.plan import World
from dftt_tools.corpus.worlds import QUESTIONS, generate_world


@pytest.mark.parametrize("num_words", [200, 333, 1000, 2500, 6000])
def test_length_is_as_wanted_or_a_few_words_more(num_words: int) -> None:
    for seed in range(2 * len(GENRES)):
        assert 0 <= len(generate_world(seed, num_words).split()) - num_words <= 60


def test_same_seed_gives_the_same_document() -> None:
    assert generate_world(5, 800) == generate_world(5, 800)
    assert len({generate_world(seed, 300) for seed in range(200)}) == 200


def test_consecutive_seeds_go_through_all_genres() -> None:
    genres = {World(seed, 2).genre.special + World(seed, 2).genre.headings[0] for seed in range(len(GENRES))}
    assert len(genres) == len(GENRES) >= 8


def test_every_genre_has_a_form_of_its_own() -> None:
    assert {genre.special for genre in GENRES.values()} <= BLOCKS.keys()


@pytest.mark.parametrize("seed", range(26))
def test_no_slot_is_left_open(seed: int) -> None:
    text = re.sub(r"```.*?```", "", generate_world(seed, 3000), flags=re.DOTALL)
    assert not re.search(r"[{}]|\bNone\b(?!`)|  \w", text.replace("   (", "("))
    assert text.startswith("# ")
    assert text.count("\n## ") >= 10


def test_facts_of_a_thing_recur() -> None:
    for genre in ("rule book", "proposal", "minutes", "terms"):
        text = generate_world(list(GENRES).index(genre), 6000)
        codes = re.findall(r"([A-Z]\w+ [A-Z]\w+) \(([A-Z]{2}-\d{3})\)", text)
        assert len(codes) > len(set(codes)) > 3
        assert len(set(codes)) == len(dict(codes))


def test_references_name_sections_that_exist() -> None:
    for seed in range(26):
        text = generate_world(seed, 1500)
        numbers = {int(number) for number in re.findall(r"^## (\d+)\.", text, flags=re.MULTILINE)}
        referred = {int(number) for number in re.findall(r"\bsection (\d+)", text)}
        assert referred <= numbers


def test_no_sentence_dominates_a_document() -> None:
    for seed in range(len(GENRES)):
        sentences = re.split(r"(?<=[.?!])\s", generate_world(seed, 2500))
        long = [sentence for sentence in sentences if len(sentence.split()) > 6]
        assert len(set(long)) > 0.9 * len(long)


def test_generation_is_fast() -> None:
    start = time.perf_counter()
    for seed in range(50):
        generate_world(seed, 2500)
    assert time.perf_counter() - start < 6


@pytest.mark.parametrize("num_words", [0, 199, 6001])
def test_length_out_of_range_is_refused(num_words: int) -> None:
    with pytest.raises(ValueError, match=f"between 200 and 6000, got {num_words}"):
        generate_world(0, num_words)


def test_questions_are_many_and_different() -> None:
    assert len(QUESTIONS) == len(set(QUESTIONS)) >= 75
    assert all(question[0].isupper() and question[-1] in ".?" for question in QUESTIONS)
