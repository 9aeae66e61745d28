"""The forms that a section of an invented document is written in, besides paragraphs."""

from __future__ import annotations

from collections.abc import Callable

from dftt_tools.corpus.cast import Thing
from dftt_tools.corpus.plan import World
from dftt_tools.corpus.spelling import camel, capital, identifier
from dftt_tools.corpus.wordbank import wordbank

_TEMPLATES: dict[str, list[str]] = wordbank("blocks.yaml")


def list_block(world: World, section: int) -> str:
    """A bulleted or numbered list with a line that introduces it."""
    world.focus(section)
    intro = world.fill(world.rng.choice(_TEMPLATES["list_intros"]))
    numbered = world.rng.random() < 0.4
    lines: list[str] = []
    for number in range(1, world.rng.randint(3, 6) + 1):
        world.focus(section)
        pattern = world.rng.choice(_TEMPLATES["list_items"])
        lines.append(f"{f'{number}.' if numbered else '-'} {capital(world.fill(pattern))}")
    return "\n".join([capital(intro), "", *lines])


def table(world: World, section: int) -> str:
    """A table of some things with their facts."""
    columns: dict[str, Callable[[Thing], object]] = {
        "Code": lambda thing: thing.code,
        "Kind": lambda thing: thing.kind,
        world.genre.units[0].capitalize() + " etc.": lambda thing: f"{thing.number} {thing.unit}",
        "Limit": lambda thing: thing.limit,
        "Keeper": lambda thing: thing.owner,
        "Place": lambda thing: thing.place,
        "Since": lambda thing: thing.year,
        "Colour": lambda thing: thing.colour,
        "Days": lambda thing: thing.days,
    }
    names = world.rng.sample(list(columns), world.rng.randint(2, 4))
    start = section % len(world.things)
    rows = (world.things[start:] + world.things[:start])[: world.rng.randint(3, 7)]
    head = ["| Name | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    body = [f"| {thing} | " + " | ".join(str(columns[name](thing)) for name in names) + " |" for thing in rows]
    return "\n".join(head + body)


def note(world: World, section: int) -> str:
    """A remark set off from the text."""
    word = world.rng.choice(_TEMPLATES["note_words"])
    return f"> **{word}:** {world.sentence(section)}"


def stat_block(world: World, section: int) -> str:
    """A creature's or component's entry: numbers first, then habits."""
    world.focus(section)
    thing = world.first = world.draw(world.things)
    lines = [
        f"**{thing}** ({thing.kind}, {thing.code})",
        f"{thing.number} {thing.unit}, strength {thing.limit}, {thing.colour} {thing.material}",
    ]
    lines += [f"- {capital(world.fill('when {event}: {act}.'))}" for _ in range(world.rng.randint(2, 3))]
    return "\n".join(lines)


def requirements(world: World, section: int) -> str:
    """Numbered requirements."""
    lines: list[str] = []
    for number in range(1, world.rng.randint(3, 5)):
        world.focus(section)
        must, end = (world.rng.choice(_TEMPLATES[f"requirement_{part}"]) for part in ("words", "ends"))
        clause = f"The {{actor}} {must} {{act}}{end}."
        lines.append(f"**R{section + 1}.{number}** {world.fill(clause)}")
    return "\n\n".join(lines)


def steps(world: World, section: int) -> str:
    """A numbered procedure with times and quantities."""
    lines: list[str] = []
    for number in range(1, world.rng.randint(5, 8)):
        world.focus(section)
        pattern = world.rng.choice(_TEMPLATES["steps"])
        lines.append(f"{number}. {capital(world.fill(pattern))}")
    return "\n".join(lines)


def ledger(world: World, section: int) -> str:
    """Dated entries of a register."""
    lines: list[str] = []
    for _ in range(world.rng.randint(3, 5)):
        world.focus(section)
        pattern = world.rng.choice(_TEMPLATES["ledger_entries"])
        lines.append(f"- *{world.rng.randint(1, 28)} {world['month']}* — {capital(world.fill(pattern))}")
    return "\n".join(lines)


def shell(world: World, section: int) -> str:
    """A command with its output."""
    world.focus(section)
    tool, first, second = str(world.things[0]).replace("_", "-"), world.first, world.second
    file = f"{world['noun']}.{world.rng.choice(('toml', 'csv', 'log'))}"
    lines = [f"$ {tool} {first} --{second}={second.number} {file}"]
    lines += [f"{first}: {first.number} {first.unit}, limit {first.limit}"]
    lines += [f"warning: {second} ({second.code}) is {second.trait}"] if world.rng.random() < 0.5 else []
    lines += [f"done in {world['n']}.{world['n']} s"]
    return "\n".join(["```console", *lines, "```"])


def python(world: World, section: int) -> str:
    """A short piece of Python that uses two names of the document."""
    world.focus(section)
    name, other = (identifier(str(thing)) for thing in (world.first, world.second))
    module, item = identifier(str(world.things[0])), world["noun"]
    limit, number, days = world.first.limit, world.second.number, world.first.days
    variants = (
        f"from {module} import {name}, {other}\n\n{item} = {name}({other}={number})\n"
        f"for entry in {item}:\n    print(entry.{world['verb']}())",
        f"class {camel(name)}(Base):\n    limit = {limit}\n\n"
        f"    def {other}(self, {item}):\n        if len({item}) > self.limit:\n"
        f'            raise ValueError("{name}: at most {limit} entries")\n'
        f"        return sorted({item})",
        f"try:\n    {name}({item}, timeout={days})\nexcept {camel(other)}Error as error:\n"
        f"    log.warning('{world.second.code}: %s', error)\n    raise",
        f"@{module}.register\ndef {name}({item}, *, {other}={number}):\n"
        f"    {world['noun']}s = [part for part in {item} if part.{world['verb']}]\n"
        f"    assert len({item}) <= {limit}\n    return {item}[:{other}]",
        f"with {module}.{world['verb']}({other}={number}) as {item}:\n"
        f"    while not {item}.done:\n        {item}.{name}({days})",
    )
    return f"```python\n{world.rng.choice(variants)}\n```"


def questions(world: World, section: int) -> str:
    """A question and its answer."""
    world.focus(section)
    question = world.fill(world.rng.choice(_TEMPLATES["questions"]))
    return f"**{question}**\n\n{world.paragraph(section, world.rng.randint(1, 3))}"


def clauses(world: World, section: int) -> str:
    """Numbered clauses, one of them with lettered items."""
    lines = [f"{section + 1}.{number} {world.sentence(section)}" for number in range(1, world.rng.randint(3, 5))]
    items = [f"   ({letter}) {world['act']};" for letter in "abcd"[: world.rng.randint(2, 4)]]
    lines.append("\n".join([f"{section + 1}.{len(lines) + 1} {world.fill('The {actor} may not:')}", *items]))
    return "\n\n".join(lines)


# The forms in the proportions in which they come; a genre's `special` names one of BLOCKS.
_FORMS = ("paragraph",) * 6 + ("list_block", "table", "note") + ("special",) * 3
BLOCKS: dict[str, Callable[[World, int], str]] = {
    "paragraph": World.paragraph,
    "list_block": list_block,
    "table": table,
    "note": note,
    "stat_block": stat_block,
    "requirements": requirements,
    "steps": steps,
    "ledger": ledger,
    "shell": shell,
    "python": python,
    "questions": questions,
    "clauses": clauses,
}


def write_block(world: World, section: int) -> str:
    """One block of a section: text mostly, sometimes a list, a table or the genre's own form."""
    form = world.draw(_FORMS)
    return BLOCKS[world.genre.special if form == "special" else form](world, section)
