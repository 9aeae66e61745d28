"""Prompts for synthesis: from files, without evaluation overlaps, and of our own, from templates.

Templates name slots of word banks. A slot keeps its value within one prompt; a digit at its end (`{name2}`)
asks for another value of the same bank.
"""

from __future__ import annotations

import datetime
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVALUATION_PREFIXES: tuple[str, ...] = (
    "gsm8k/test",
    "HumanEval",
    "mtbench",
    "math500",
    "mbpp",
    "contexts",
    "pep-",
    "erc-",
    "cairn2-",
    "speculators-",
    "nqswap",
    "babi",
    "memotrap",
    "conflictnq",
    "clbench",
)
_MAX_REPEATS = 2000
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio][a-z])")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _items(text: str) -> tuple[str, ...]:
    return tuple(text.split(" | "))


def load_prompts(paths: Sequence[str | Path], drop_ids_file: str | Path | None = None) -> list[str]:
    """The prompts of all files in order, without overlaps with evaluation sets and without exact duplicates.

    Args:
        paths: JSONL or JSONL.GZ files whose rows have the strings `id` and `prompt`.
        drop_ids_file: JSON file of nested mappings whose lists name the ids to leave out.

    Raises:
        ValueError: If a file holds an evaluation set, or a row is malformed.
    """
    dropped = _read_drop_ids(Path(drop_ids_file)) if drop_ids_file is not None else frozenset()
    prompts: dict[str, None] = {}
    for path in map(Path, paths):
        for place, row in _rows(path):
            if row["id"].startswith(EVALUATION_PREFIXES):
                raise ValueError(
                    f"{place}: id {row['id']!r} belongs to an evaluation set, which must not be trained on: "
                    "remove this file from the list"
                )
            if row["id"] not in dropped:
                prompts[row["prompt"]] = None
    return list(prompts)


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file: give a JSONL or JSONL.GZ file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{place}: not a JSON object ({error.msg}): write one object a line") from error
            for key in ("id", "prompt"):
                if not isinstance(row, dict) or not isinstance(row.get(key), str) or not row[key].strip():
                    raise ValueError(f"{place}: needs a non-empty string {key!r}")
            yield place, row


def _read_drop_ids(path: Path) -> frozenset[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a readable JSON file of ids to drop ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: needs a mapping of training files to lists of ids, got {type(content).__name__}")
    return frozenset(_ids(content))


def _ids(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for child in node.values():
            yield from _ids(child)
    elif isinstance(node, list):
        yield from (str(item) for item in node)


class _Slots(dict[str, object]):
    """The values of one prompt's slots, drawn when first named."""

    def __init__(self, rng: random.Random, banks: Mapping[str, Sequence[object]]) -> None:
        super().__init__()
        self.rng, self.banks = rng, banks

    def __missing__(self, slot: str) -> object:
        bank = slot.rstrip("0123456789")
        taken = {value for key, value in self.items() if key.rstrip("0123456789") == bank}
        self[slot] = self.rng.choice([value for value in self.banks[bank] if value not in taken])
        return self[slot]


def _distinct(count: int, draw: Callable[[], str]) -> list[str]:
    """`count` different draws."""
    if count < 0:
        raise ValueError(f"count must be >= 0, got {count}")
    prompts: dict[str, None] = {}
    repeats = 0
    while len(prompts) < count:
        before = len(prompts)
        prompts[draw()] = None
        repeats = 0 if len(prompts) > before else repeats + 1
        if repeats > _MAX_REPEATS:
            raise ValueError(f"count must be at most about {len(prompts)} for these templates, got {count}")
    return list(prompts)


@dataclass(frozen=True)
class _Step:
    """One step of an invented function: a part of its name, words for its docstring, and its expression."""

    name: str
    words: str
    code: str
    returned: str = ""


@dataclass(frozen=True)
class _Task:
    """A family of invented functions: keep some elements, change each, combine them."""

    argument: str
    annotation: str
    noun: str
    limits: tuple[int, int]
    sample: Callable[[random.Random], list[Any]]
    keep: tuple[_Step, ...]
    change: tuple[_Step, ...]
    combine: tuple[_Step, ...]


_WORDS = _items(
    "amber | Basil | copper | Delta | ember | fig | garnet | Harbor | iris | jade | kettle | Lemon | maple"
    " | nickel | Olive | pear | quartz | Raven | sage | tulip | Umber | velvet | willow | yarrow | zinc"
)
_KEYS = _items("ada | bo | cleo | dan | eve | finn | gus | hana | ivo | june | kai | lou")
_TASKS: tuple[_Task, ...] = (
    _Task(
        argument="values",
        annotation="list[int]",
        noun="numbers",
        limits=(2, 12),
        sample=lambda rng: [rng.randint(-20, 60) for _ in range(rng.randint(4, 6))],
        keep=(
            _Step("even", "that are even", "x % 2 == 0"),
            _Step("odd", "that are odd", "x % 2 == 1"),
            _Step("large", "greater than {n}", "x > {n}"),
            _Step("small", "smaller than {n}", "x < {n}"),
            _Step("negative", "below zero", "x < 0"),
            _Step("multiple", "divisible by {n}", "x % {n} == 0"),
            _Step("two_digit", "with exactly two digits", "10 <= abs(x) <= 99"),
            _Step("other", "different from {n}", "x != {n}"),
        ),
        change=(
            _Step("plain", "left as they are", "x"),
            _Step("doubled", "doubled", "2 * x"),
            _Step("shifted", "increased by {n}", "x + {n}"),
            _Step("squared", "squared", "x * x"),
            _Step("halved", "halved and rounded down", "x // 2"),
            _Step("distance", "replaced by their distance from {n}", "abs(x - {n})"),
            _Step("rest", "reduced to their remainder modulo {n}", "x % {n}"),
            _Step("flipped", "with their sign flipped", "-x"),
        ),
        combine=(
            _Step("total", "the total of", "sum(kept)", "int"),
            _Step("largest", "the largest (or 0) of", "max(kept, default=0)", "int"),
            _Step("distinct", "how many different values there are among", "len(set(kept))", "int"),
            _Step("descending", "in falling order", "sorted(kept, reverse=True)", "list[int]"),
            _Step("spread", "the gap between the extremes of", "max(kept) - min(kept) if kept else 0", "int"),
            _Step("last", "the final {n} of", "kept[-{n}:]", "list[int]"),
        ),
    ),
    _Task(
        argument="words",
        annotation="list[str]",
        noun="words",
        limits=(3, 6),
        sample=lambda rng: rng.sample(_WORDS, rng.randint(4, 5)),
        keep=(
            _Step("long", "of more than {n} letters", "len(x) > {n}"),
            _Step("short", "of at most {n} letters", "len(x) <= {n}"),
            _Step("capital", "written with a capital", "x[0].isupper()"),
            _Step("with_e", "containing the letter e", '"e" in x'),
            _Step("ending_r", "that end in r", 'x.endswith("r")'),
            _Step("early", "from the first half of the alphabet", 'x[0].lower() < "n"'),
        ),
        change=(
            _Step("shouted", "in capitals", "x.upper()"),
            _Step("mirrored", "spelt backwards", "x[::-1]"),
            _Step("clipped", "cut after {n} letters", "x[:{n}]"),
            _Step("starred", "followed by a star", 'x + "*"'),
            _Step("lowered", "in lower case", "x.lower()"),
            _Step("repeated", "written twice", "x * 2"),
        ),
        combine=(
            _Step("dashed", "joined by dashes:", '"-".join(kept)', "str"),
            _Step("sorted", "as a sorted list:", "sorted(kept)", "list[str]"),
            _Step("letters", "the number of letters in all of", "sum(len(x) for x in kept)", "int"),
            _Step("numbered", "as a mapping from place to word:", "dict(enumerate(kept, 1))", "dict[int, str]"),
            _Step("initials", "the first letters of", '"".join(x[0] for x in kept)', "str"),
        ),
    ),
    _Task(
        argument="scores",
        annotation="list[tuple[str, int]]",
        noun="pairs of a name and a score",
        limits=(6, 30),
        sample=lambda rng: [(name, rng.randint(1, 40)) for name in rng.sample(_KEYS, 4)],
        keep=(
            _Step("passing", "whose score is at least {n}", "x[1] >= {n}"),
            _Step("failing", "whose score is under {n}", "x[1] < {n}"),
            _Step("even_score", "with an even score", "x[1] % 2 == 0"),
            _Step("brief", "with a name of three letters or fewer", "len(x[0]) <= 3"),
            _Step("late_name", "whose name comes after 'f' in the alphabet", 'x[0] > "f"'),
        ),
        change=(
            _Step("plain", "left as they are", "x"),
            _Step("boosted", "with {n} added to each score", "(x[0], x[1] + {n})"),
            _Step("titled", "with the names in title case", "(x[0].title(), x[1])"),
            _Step("capped", "with no score above {n}", "(x[0], min(x[1], {n}))"),
        ),
        combine=(
            _Step("as_dict", "as a dictionary:", "dict(kept)", "dict[str, int]"),
            _Step("names", "the sorted names of", "sorted(name for name, _ in kept)", "list[str]"),
            _Step("points", "the summed scores of", "sum(score for _, score in kept)", "int"),
            _Step("ranking", "from best to worst:", "sorted(kept, key=lambda x: -x[1])", "list[tuple[str, int]]"),
        ),
    ),
    _Task(
        argument="days",
        annotation="list[datetime.date]",
        noun="dates",
        limits=(1, 12),
        sample=lambda rng: [datetime.date(2021, 1, 1) + datetime.timedelta(rng.randint(0, 1400)) for _ in range(4)],
        keep=(
            _Step("weekend", "that fall on a weekend", "x.weekday() >= 5"),
            _Step("monthly", "in month number {n}", "x.month == {n}"),
            _Step("first_half", "in the first half of their month", "x.day <= 15"),
            _Step("recent", "after the year 2022", "x.year > 2022"),
            _Step("workday", "from Monday to Friday", "x.weekday() < 5"),
        ),
        change=(
            _Step("plain", "left as they are", "x"),
            _Step("postponed", "moved {n} days later", "x + datetime.timedelta(days={n})"),
            _Step("month_start", "moved to the first of their month", "x.replace(day=1)"),
        ),
        combine=(
            _Step("iso", "as ISO strings:", "[x.isoformat() for x in kept]", "list[str]"),
            _Step("count", "the number of", "len(kept)", "int"),
            _Step("years", "the sorted years of", "sorted(set(x.year for x in kept))", "list[int]"),
            _Step("span", "the days from first to last of", "(max(kept) - min(kept)).days if kept else 0", "int"),
        ),
    ),
)
_COMPLETE = _items(
    "Complete the following Python function. | Complete the following Python function:"
    " | Fill in the body of this Python function. | Please finish this function so that the examples hold."
    " | Here is a signature with its docstring. Write the implementation."
)
_EXPLAIN = _items(
    "Explain this code to a beginner. | What does the following function do? Go through it line by line."
    " | Describe in two or three sentences what this code returns."
    " | Read this Python function, explain it, and suggest a better name."
    " | Rewrite this function with a comprehension and explain the change."
    " | Write three unit tests for this function. | Add a docstring and type hints to this function."
)
_FIX = _items(
    "Fix the bug in this function."
    " | This function gives wrong results. Find the mistake and correct it."
    " | My code does not do what the comment says. What is wrong?"
    " | Please debug the following Python code and explain the error."
)
_WRITE: tuple[str, ...] = (
    "Write a Python function `{name}` that takes {noun} and returns {aim}.",
    "Write a Python function that returns {aim}. Call it `{name}` and add a short docstring.",
    "I have a list of {noun}. I need a function giving {aim}. Can you write it in Python?",
    "Create a small Python function `{name}({argument})`. It should return {aim}. Include one usage example.",
)
_BUGS: tuple[tuple[str, str], ...] = (
    ("    return", "        return"),
    ("if ", "if not "),
    ("kept.append(", "kept = ("),
    ("    kept = []", "    kept = None"),
    (":\n        if", "[1:]:\n        if"),
    ("            kept", "        kept"),
    ("for x in", "for x of"),
)


def _code_prompt(rng: random.Random) -> str:
    task = rng.choice(_TASKS)
    n = rng.randint(*task.limits)
    keep, change, combine = rng.choice(task.keep), rng.choice(task.change), rng.choice(task.combine)
    name = "_".join(part.name for part in rng.sample((keep, change, combine), 3) if part.name != "plain")
    aim = f"{combine.words} the {task.noun} {keep.words}, {change.words}".format(n=n)
    body = (
        f"def {name}({task.argument}):\n    kept = []\n    for x in {task.argument}:\n"
        f"        if {keep.code}:\n            kept.append({change.code})\n    return {combine.code}"
    ).format(n=n)
    kind = rng.choices(("complete", "write", "explain", "fix"), (45, 25, 15, 15))[0]
    if kind == "write":
        return rng.choice(_WRITE).format(name=name, noun=task.noun, aim=aim, argument=task.argument)
    if kind == "explain":
        return f"{rng.choice(_EXPLAIN)}\n\n```python\n{body}\n```"
    if kind == "fix":
        bug = rng.choice(_BUGS)
        return f"{rng.choice(_FIX)}\n\n```python\n# Returns {aim}.\n{body.replace(*bug, 1)}\n```"
    samples = [task.sample(rng) for _ in range(rng.randint(1, 2))]
    examples = "".join(f"    >>> {name}({sample!r})\n    {_run(body, sample)!r}\n" for sample in samples)
    start = rng.choice(("Return", "Give", "Compute and return", "Find"))
    head = "import datetime\n\n\n" if "datetime" in task.annotation else ""
    signature = f"{head}def {name}({task.argument}: {task.annotation}) -> {combine.returned}:"
    code = f'{signature}\n    """{start} {aim}.\n\n{examples}    """\n'
    return f"{rng.choice(_COMPLETE)}\n\n```python\n{code}```" if rng.random() < 0.8 else code


def _run(body: str, argument: object) -> object:
    namespace: dict[str, Any] = {"datetime": datetime}
    exec(body, namespace)
    return next(value for key, value in namespace.items() if key not in {"datetime", "__builtins__"})(argument)


def code_prompts(seed: int, count: int) -> list[str]:
    """Different prompts about small invented Python functions; the doctest results in them are right.

    Args:
        seed: Chooses the prompts; the same for the same seed.
        count: How many.
    """
    rng = random.Random(f"code {seed}")
    return _distinct(count, lambda: _code_prompt(rng))


_BANKS: dict[str, tuple[object, ...]] = {
    "few": tuple(range(2, 10)),
    "some": tuple(range(11, 49)),
    "many": tuple(range(60, 490, 10)),
    "price": tuple(range(2, 26)),
    "pct": (5, 10, 15, 20, 25, 30, 40, 60, 75),
    "part": ("half", "a third", "a quarter", "a fifth", "two thirds", "three quarters"),
    "name": _words(
        "Amara Bogdan Chiara Dmitri Edda Farid Greta Hiroshi Ines Jarek Kwame Leila Mateo Nadia Otis "
        "Priya Quentin Rosa Sanjay Thandi Ulrich Vera Wendell Ximena Yusuf Zofia Anneke Bilal Corin "
        "Delphine"
    ),
    "item": _words(
        "candles postcards melons lanterns marbles badges tulips pastries buttons jars kites notebooks "
        "oysters pumpkins ribbons seashells stickers teapots umbrellas walnuts bulbs scarves bricks "
        "puzzles"
    ),
    "shop": _items("bakery | nursery | harbour market | orchard | pottery | toy shop | dairy | print shop | museum"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "vehicle": ("bus", "ferry", "tram", "minibus", "cable car", "canal boat"),
    "tone": _words(
        "warm formal playful calm blunt hopeful dry respectful enthusiastic apologetic nostalgic matter-of-fact"
    ),
    "form": _items(
        "a thank-you note | a cover letter | a product description | a short speech | a diary entry | a "
        "news item | a poem of four stanzas | a complaint | an invitation | a bedtime story | a "
        "newsletter paragraph | a dialogue | a review | a toast"
    ),
    "reader": _items(
        "a new neighbour | my landlord | a group of twelve-year-olds | a former teacher | the members of "
        "a rowing club | a busy manager | my grandmother | the parents of my pupils | a customer who "
        "waited too long | volunteers at an animal shelter | someone learning English"
    ),
    "subject": _items(
        "a lost umbrella | learning to bake sourdough | the first snow of the year | a broken lift | "
        "moving to a smaller flat | a village fair | a night train | repairing old bicycles | keeping "
        "bees on a roof | a cancelled concert | planting a hedge | an unexpected inheritance | the noise "
        "of a building site | a second-hand piano | a walk along a canal | a library that stays open at "
        "night | cooking for a hundred guests | a parcel that came to the wrong door"
    ),
    "limit": (
        "Keep it under 120 words.",
        "Use no more than three paragraphs.",
        "Do not use any adverbs.",
        "End with a question.",
        "Use short sentences.",
        "Include a title.",
        "Give two versions.",
        "Avoid clichés.",
        "Write in the second person.",
        "",
    ),
    "role": _items(
        "a lighthouse keeper in 1890 | a patient chess coach | a sceptical museum guard | a ship's cook | "
        "a travel agent for time travellers | a strict but fair copy editor | a retired locksmith | an "
        "interviewer for a bakery job | a talking compass | a gardener who speaks in proverbs | a "
        "detective on holiday | a nutrition adviser | a city planner | a robot learning manners | a "
        "medieval toll collector | the voice of a very old river"
    ),
    "request": (
        "I ask you how your day went",
        "explain to me why patience matters",
        "give me advice on choosing a hobby",
        "help me prepare for a difficult talk with a friend",
        "describe what you see from where you stand",
        "tell me about your worst mistake",
        "persuade me to take up {hobby}",
        "react to the news that {subject} made the front page",
        "welcome me on my first day",
    ),
    "hobby": _words("fencing birdwatching pottery archery knitting rowing calligraphy astronomy juggling sailing"),
    "language": _words("Python JavaScript Go Rust Java C# TypeScript Ruby Kotlin Swift PHP SQL Bash"),
    "program": _items(
        "renames photos by the date they were taken | checks a list of links and prints the dead ones | "
        "turns a CSV of expenses into monthly totals | simulates a queue at a ticket desk | keeps a "
        "shopping list in a file | prints a calendar for a given month | finds duplicate files in a "
        "folder | draws a bar chart with plain characters | asks ten quiz questions and counts the score "
        "| splits a restaurant bill with a tip | converts Roman dates to ISO dates | watches a log and "
        "counts errors by hour | shuffles players into balanced teams | validates postal codes | merges "
        "two address books"
    ),
    "concept": _items(
        "a hash map | recursion | a race condition | dependency injection | an index in a database | a "
        "closure | garbage collection | version control | an event loop | unit testing | type inference | "
        "caching | a REST interface"
    ),
    "stem": _items(
        "osmosis | plate tectonics | the Doppler effect | how vaccines train the immune system | buoyancy "
        "| the water cycle | electrical resistance | how a heat pump works | the phases of the moon | "
        "natural selection | acids and bases | the greenhouse effect | how GPS finds a position | "
        "half-life | sound insulation | why bridges have expansion joints | nitrogen fixation | how "
        "noise-cancelling headphones work | the structure of a leaf | standard deviation"
    ),
    "humanity": _items(
        "the printing press | the Silk Road | the Stoics | public libraries | the fall of Constantinople "
        "| the idea of human rights | Greek tragedy | the rise of coffee houses | oral storytelling | the "
        "Meiji Restoration | Impressionist painting | the Hanseatic League | minimum wages | "
        "utilitarianism | the invention of zero | town charters in the Middle Ages | the Harlem "
        "Renaissance | jury trials | propaganda posters | the Bauhaus"
    ),
    "angle": (
        "Give three examples.",
        "What is often misunderstood about it?",
        "Use an everyday analogy.",
        "Assume I know nothing about it.",
        "Compare two points of view.",
        "Finish with a one-line summary.",
        "Why does it matter today?",
        "Mention one open question.",
        "Answer as a numbered list.",
        "",
    ),
    "job": _words("baker nurse plumber translator pilot florist carpenter librarian chemist welder tailor judge"),
    "city": _words("Porto Tartu Cusco Ghent Nara Lagos Bergen Tbilisi Hobart Izmir Oaxaca Riga Dakar Quito"),
    "colour": _words("red blue green yellow white black purple violet"),
}
_CHAT: dict[str, tuple[str, ...]] = {
    "writing": (
        "Write {form} about {subject} for {reader}. The tone should be {tone}. {limit}",
        "Please draft {form} in a {tone} tone. The topic is {subject}. {limit}",
        "I have to send {form} to {reader} because of {subject}. Can you write it? {limit}",
        'Rewrite this so that it sounds more {tone}: "Dear all, I write because of {subject}. It '
        "cannot go on like "
        'this. {name} agrees with me." {limit}',
        "Give me five titles for {form} about {subject}. Make them {tone}.",
        'Correct the spelling and grammar: "{name} dont has told nobody about {subject}, and we was '
        "all suprised "
        'on {weekday}."',
        "Continue this story in a {tone} voice: {name} had not expected {subject} to change anything. {limit}",
        "Outline {form} about {subject}: list the main points in order and say why each belongs there.",
    ),
    "roleplay": (
        "You are {role}. Stay in character while {request}. {limit}",
        "Pretend to be {role} and {request}.",
        "Let's play a scene. You are {role}, I am {role2}. Begin with a {tone} greeting. {limit}",
        "Speak as {role} would. Topic: {subject}. {limit}",
        "Act as {role}. A visitor called {name} asks you about {subject}. How do you reply?",
    ),
    "reasoning": (
        "{name} is taller than {name2}. {name3} is shorter than {name2}. {name4} is taller than {name}. "
        "Who is the second tallest? Explain.",
        "Four friends sit in a row. {name} is not at either end. {name2} sits directly left of {name3}. "
        "{name4} is at the right end. In which order do they sit?",
        "If the meeting is {few} days after {weekday} and it is moved forward by {few2} days, on which weekday is it?",
        "All {item} in the box are {colour}. Some things in the box are not {item}. Can we be sure "
        "that something in "
        "the box is not {colour}? Why?",
        "{name} says that {name2} is lying. {name2} says that {name3} is lying. {name3} says that "
        "both are lying. "
        "Who tells the truth?",
        "Which of these does not fit with the others, and why: {hobby}, {hobby2}, {job}, {hobby3}?",
        "A {job}, a {job2} and a {job3} live in {city}, {city2} and {city3}. The {job} does not live "
        "in {city}. "
        "The {job2} lives in {city3}. Where does each of them live?",
        "{name} wants to cross the river with {few} {item} and can carry two at a time. How many "
        "crossings are "
        "needed? Show how you count.",
        "My neighbour's lights were on all night because of {subject}. List four possible "
        "explanations, from the most "
        "to the least likely.",
    ),
    "math": (
        "Solve for x: {few}x + {some} = {many}. Show each step.",
        "What is {pct}% of {many}, and what is {pct2}% of the result?",
        "A rectangle is {some} cm long and {few} cm wide. Find its area, its perimeter and its diagonal.",
        "What is the probability of drawing a {colour} ball from a bag with {few} {colour} and {some} {colour2} balls?",
        "Simplify {few}(x + {few2}) - {few3}(x - {few4}).",
        "Evaluate g(t) = {few}t^2 - {some}t + {few2} at t = {few3}.",
        "The mean of {few} numbers is {some}. One more number, {some2}, is added. What is the new mean?",
        "Find two numbers whose sum is {many} and whose difference is {some}.",
        "A savings account holds {many} euros and earns {pct}% interest a year. How much is in it after {few} years?",
        "How many whole numbers lie between {some} and {many} that are multiples of {few}?",
    ),
    "coding": (
        "Write a {language} program that {program}. {angle}",
        "Explain {concept} to someone who knows {language}. {angle}",
        "How would you design a tool that {program}? Describe the parts before you write any code.",
        "Compare how {language} and {language2} treat {concept}.",
        "My {language} program, which {program}, is slow for large inputs. How do I find out why? {angle}",
        "Write unit tests in {language} for a function that {program}.",
        "Show a small example of {concept} in {language}, with comments.",
    ),
    "extraction": (
        'Extract every name, city and number from this text as JSON: "{name} left {city} on '
        "{weekday} with {some} "
        '{item}. In {city2}, {name2} bought {few} of them for {price} euros each."',
        "List the people and their jobs: {name} is a {job} from {city}. {name2}, once a {job2}, now "
        "works as a {job3}. "
        "{name3} lives in {city2}.",
        "Turn this into a table with the columns item, amount and price: {some} {item} at {price} "
        "euros, {few} {item2} "
        "at {price2} euros, {many} {item3} at {few2} euros.",
        "From the following orders, which customer spent the most? {name}: {few} x {price}; {name2}: "
        "{few2} x "
        "{price2}; {name3}: {few3} x {price3}. Answer with the name and the amount.",
        "Summarise in one sentence: On {weekday}, {name} told the council of {city} about {subject}. "
        "{name2}, a {job}, "
        "replied that {few} similar cases were known. The council will decide on {weekday2}.",
        "Label each sentence as positive, negative or neutral: (1) The {item} arrived broken. (2) "
        "{name} was kind and "
        "quick. (3) The {shop} opens on {weekday}. (4) I would go to {city} again.",
        'Which dates and places are mentioned? "The {job} moved from {city} to {city2} in 19{some}, '
        "and {few} years "
        'later to {city3}."',
    ),
    "stem": (
        "Explain {stem} to {reader}. {angle}",
        "What is {stem}? {angle}",
        "Describe an experiment at home that shows {stem}. List the materials and the steps.",
        "How are {stem} and {stem2} related, if at all? {angle}",
        "Write five quiz questions about {stem}, with answers. {limit}",
        "Which measurements would you need to study {stem}? {angle}",
    ),
    "humanities": (
        "Why was {humanity} important? {angle}",
        "Compare {humanity} with {humanity2}. {angle}",
        "Plan a lesson of {some} minutes about {humanity} for {reader}.",
        "Write a {tone} essay introduction about {humanity}. {limit}",
        "What would someone from {city} have thought of {humanity}? {angle}",
        "Which sources would a historian use to study {humanity}? {angle}",
        "Discuss whether {humanity} still shapes how we live. {angle}",
    ),
}
_MATH: tuple[str, ...] = (
    "{name} packs {few} boxes with {some} {item} each and gives {few2} boxes away. How many {item} are left?",
    "A {shop} sells {item} at ${price} apiece. On {weekday} it sold {some}, on {weekday2} {few} "
    "times as many. "
    "How much money came in over both days?",
    "{name} has {many} {item}. {name2} has {part} as many, and {name3} has {few} more than {name2}. "
    "How many do the three have altogether?",
    "Each tray of a {shop} holds {some} {item}. If {few} trays are full and one is filled to {part}, "
    "how many {item} are there?",
    "{name} saves ${price} a week for {some} weeks, then spends {part} of it on {item}. How much remains?",
    "The {vehicle} leaves with {some} passengers. At the first stop {few} get off and {few2} get on; "
    "at the second, "
    "{few3} get off. With how many passengers does it arrive?",
    "To make {few} lamps, {name} needs {some} minutes. How long do {many} lamps take at the same pace?",
    "{name} reads {some} pages every evening and {few} times that on Sundays. How many pages does "
    "{name} read "
    "in {few2} weeks?",
    "A fence of {many} metres needs a post every {few} metres, with one at each end. A post costs ${price}. "
    "What do the posts cost?",
    "{name} and {name2} share ${many} so that {name} gets ${some} more than {name2}. How much does each get?",
    "A tank holds {many} litres. It is filled at {few} litres a minute and leaks {few2} litres an hour. "
    "How full is it after {few3} minutes?",
    "At the {shop}, {item} cost ${price} each, and a pack of {some} is $1 cheaper than that many "
    "single ones. What do {few} packs "
    "cost?",
    "{name} ran {few} km on {weekday}, and {part} more on {weekday2}. A friend ran {few2} km on both days. "
    "How far did they run together?",
    "At the {shop}, {pct}% of the {many} {item} are {colour}. A visitor buys {few} of the {colour} ones. "
    "How many {colour} ones are left?",
    "A ticket is ${price} for adults and ${few} for children. A group of {some} adults and {few2} children "
    "gets ${few3} off the total. What does it pay?",
    "{name} is {few} years older than {name2}, who is {few2} times as old as {name3}. {name3} is {few3}. "
    "How old is {name}?",
    "It takes {name} {some} minutes to walk to the {shop} and {part} of that to cycle. How much time "
    "does cycling "
    "there and back save in {few} days?",
    "{few} workers lay {many} bricks in an hour. How many bricks do {few2} workers lay in {few3} hours?",
    "{name} buys {few} {item} for ${price} each and {few2} {item2} for ${price2} each, and pays with "
    "${many}. "
    "How much change is due?",
    "A farmer collects {some} eggs a day. {few} are broken, and the others go into cartons of {few2}. "
    "How many full cartons are there after {few3} days?",
    "The price of a tent rises by {pct}% from ${many} and is then cut by ${some}. What is the final price?",
    "{name} has {few} shelves of {some} books, lends {few2} books to {name2} and {few3} to {name3}, and gets "
    "{part} of all lent books back. How many books stand on the shelves?",
    "{name} earns ${price} an hour and ${few} more per hour after 8 hours. How much is earned in a day of "
    "1{few2} hours?",
    "There are {some} {colour} and {many} {colour2} {item} in a barrel. {name} takes out {few} of "
    "each every day. "
    "How many are in the barrel after {few2} days?",
    "A recipe for {few} people needs {some} grams of flour per person. {name} has {many} grams and invites "
    "{few2} more people. How much flour is missing or left over?",
    "A hall has {few} blocks of {some} rows, with {few2} seats a row. On {weekday}, {pct}% of the "
    "seats were empty. "
    "How many seats were taken?",
    "{name} plants {some} fruit trees a day. After {few} days a frost kills {part} of them. "
    "How many must be planted again?",
    "A {vehicle} makes {few} trips a day and carries {some} people each time. How many people does "
    "it carry from "
    "Monday to Friday if {few2} trips are cancelled?",
    "{name} cuts a rope of {many} metres into pieces of {few} metres. How many pieces are there, and how much is left?",
    "In a game, a {colour} ring is worth {few} points and a {colour2} ring {few2}. {name} has {some} "
    "{colour} rings "
    "and half as many {colour2} ones. What is the score?",
    "{name} downloads {many} photos. Each takes {few} seconds, but after every {some} photos there "
    "is a pause of "
    "{few2} seconds. How long does it take?",
    "The {shop} ordered {few} crates of {many} {item}. {pct}% were damaged, and the rest were sold "
    "at ${price}. "
    "What was the income?",
    "{name} and {name2} start walking towards each other from {many} km apart, at {few} and {few2} "
    "km an hour. "
    "How far apart are they after {few3} hours?",
    "A school of {many} pupils goes on a trip. Each {vehicle} takes {some} pupils, and renting one "
    "costs ${many2}. "
    "How much does the school pay?",
    "{name} drinks {few} cups of tea a day, with {few2} grams of sugar each. How many grams of sugar "
    "is that in "
    "{some} days, and in how many days is a bag of {many} grams used up?",
    "{name} sold {part} of {many} {item} in the morning and {some} in the afternoon at ${price} each. "
    "How many were not sold?",
)
_MATH_ASK: tuple[str, ...] = (
    "",
    "",
    "",
    " Explain each step.",
    " Give the answer as a number.",
    " Think step by step.",
)


def _chat_prompt(rng: random.Random) -> str:
    template = rng.choice(_CHAT[rng.choice(list(_CHAT))])
    return _filled(rng, template)


def _filled(rng: random.Random, template: str) -> str:
    slots = _Slots(rng, _BANKS)
    return _ARTICLE.sub(r"\1n ", template.format_map(slots).format_map(slots).strip())


def chat_prompts(seed: int, count: int) -> list[str]:
    """Different everyday prompts: writing, role-play, reasoning, maths, coding, extraction, sciences.

    Args:
        seed: Chooses the prompts; the same for the same seed.
        count: How many.
    """
    rng = random.Random(f"chat {seed}")
    return _distinct(count, lambda: _chat_prompt(rng))


def math_prompts(seed: int, count: int) -> list[str]:
    """Different invented word problems of grade-school level.

    Args:
        seed: Chooses the prompts; the same for the same seed.
        count: How many.
    """
    rng = random.Random(f"math {seed}")
    return _distinct(count, lambda: _filled(rng, rng.choice(_MATH)) + rng.choice(_MATH_ASK))
