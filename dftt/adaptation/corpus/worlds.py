"""Invented documents: rule books, specifications, manuals, minutes … about worlds that do not exist.

A document is planned before it is written: its cast of people, places and things, with their numbers, is
drawn once, so that every later sentence, table and cross reference repeats the same facts. Text comes from
templates whose slots are filled from word banks; `{a}` and `{b}` are two things of the cast.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
MIN_WORDS, MAX_WORDS = 200, 6000


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _items(text: str) -> tuple[str, ...]:
    return tuple(text.split(" | "))


QUESTIONS: tuple[str, ...] = (
    "Summarise the document above in five sentences.",
    "Give a one-paragraph summary for someone who has two minutes.",
    "Summarise the text in a single sentence, then in three bullet points.",
    "Write an abstract of about one hundred words for this document.",
    "What is this document about, and who is it written for?",
    "List the main rules given in the text and say when each applies.",
    "List ten facts stated in the document.",
    "Which numbers and limits does the text give, and what do they refer to?",
    "Which names are mentioned and what do they do?",
    "Make a table of the most important terms with a one-line definition for each.",
    "Explain the first section to a beginner.",
    "Explain the most difficult part of the document in plain words.",
    "Choose one section and explain it to a twelve-year-old.",
    "Explain how the parts of the document depend on each other.",
    "What problems does this text address?",
    "What would go wrong if somebody ignored these instructions?",
    "Write a short FAQ of six questions and answers based on the document.",
    "Write eight quiz questions about the text, followed by the answers.",
    "Write three multiple-choice questions with four options each and mark the right one.",
    "Describe the procedure in the document as a numbered list of steps.",
    "Write a checklist that a reader could follow.",
    "What does a reader have to prepare before starting?",
    "Which requirements are strict, and which are only recommended?",
    "Which exceptions does the text mention?",
    'Find all conditions that begin with "if", "when" or "unless" and restate them in your own words.',
    "Compare two of the things described above: what do they share, and how do they differ?",
    "Which of the options described would you choose, and why?",
    "Argue in favour of the approach taken in the document.",
    "Argue against the approach taken in the document, using only what it says.",
    "What are the advantages and disadvantages named or implied in the text?",
    "Write an e-mail to a colleague that tells them what they need to know from this document.",
    "Write a friendly announcement based on the text.",
    "Write a short blog post that introduces the topic of this document.",
    "Rewrite the introduction so that it is half as long.",
    "Rewrite the second section in a more formal style.",
    "Rewrite one paragraph as a dialogue between an expert and a newcomer.",
    "Turn the most important section into a table.",
    "Propose a better structure for the document: list new headings in order.",
    "Suggest a title and five keywords.",
    "Give each section a headline of at most six words.",
    "Write a glossary in alphabetical order.",
    "Give a worked example that follows the rules in the text.",
    "Invent a situation to which the text applies, and say what it prescribes.",
    "A user did something the document forbids. Explain to them which rule they broke.",
    "Describe a typical day of somebody who follows this document.",
    "Write a code or command example that uses what is described, or, where there is none, a worked case.",
    "What does the document leave unclear? List open questions.",
    "Are there passages that seem to contradict each other? Quote and discuss them.",
    "What assumptions does the author make about the reader?",
    "What is the purpose of each section? Answer in one line a section.",
    "Quote three sentences that matter most and say why.",
    "Which part would you read first if you had a problem, and how would you proceed?",
    "Write a troubleshooting guide from the information given.",
    "What changed over time according to the text?",
    "Which places, dates or versions appear, and in which connection?",
    "Who is responsible for what?",
    "Explain the reasons behind the rules, as far as the document gives them.",
    "Explain the relation between the two most frequently named items.",
    "Describe the items in the document from the simplest to the most complex.",
    "Retell the content of the document as a short story.",
    "Explain the document with an analogy from everyday life.",
    "Write a review of this document: what is good, what is missing?",
    "Write release notes as if this document had just been updated.",
    "Draft a reply to a reader who did not understand the middle part.",
    "What should a manager know about this? Write five bullet points.",
    "What should a new member of the team learn first? Give an order and reasons.",
    "Translate the rules into a set of if-then statements.",
    'Extract all requirements as a JSON list of objects with the fields "subject" and "requirement".',
    "Extract the names and their properties as JSON.",
    "Write a short test that checks whether somebody has understood the text, and a marking scheme.",
    "Explain in detail what the last section says.",
    "Continue the document with one more section in the same style.",
    "Write another entry in the style of those in the document.",
    "Which terms are used in a special sense here? Explain each.",
    "How would you present this document in a talk of five minutes? Write the notes.",
    "What can be measured or counted according to the text, and how?",
    "Describe what happens step by step in the most complicated case that the text covers.",
    "State the single most important point and support it with three passages.",
    "List everything that the text says must not be done.",
    "Answer as the author: why did you write this document?",
)

_SOUNDS: tuple[tuple[str, str, str], ...] = (
    ("b br d dr g gr k kr m n r s st t th v", "a e i o u au ei", "n r l th sk rd m"),
    ("l m n r s v y f h t c", "a e i o ia ea ai", "l n s r el"),
    ("k t p h m n w r", "a e i o u aa ou", "n k t"),
    ("z zh sh ch v d t k g ts p", "a o u i e", "v k n r sk m zh"),
    ("w wh h f c bl gl pl tr sw", "e i y o oo ee a", "ck ld mp st nt w th"),
    ("qu x j d s l n v p", "a e i o u ua io", "x l z n r s"),
)
_COMMON: dict[str, tuple[str, ...]] = {
    "adj": _words(
        "quiet narrow amber brittle distant early faint heavy hollow idle late mild nimble pale plain "
        "rough salted shallow sharp silver slow sober stern sudden tidy uneven upright vivid warm worn "
        "bright buried copper cold crooked damp double empty folded frozen gilded green hidden iron lower "
        "northern outer painted quick red restless sealed second silent spare steady tall third twin "
        "upper western white wild"
    ),
    "noun": _words(
        "lantern ledger harbour bridge kettle mirror thicket anchor orchard furnace compass archive "
        "signal bell channel meadow quarry spindle tower valve basin beacon cradle crown drum engine "
        "feather gate glass hammer hearth hinge island key ladder lattice loom marker mill needle oar "
        "pillar plough prism raft reed ridge river saddle shuttle sluice spire spring stone tide thread "
        "vault wheel window"
    ),
    "verb": _words(
        "align anchor balance bind carry check close collect count drain draw drop enter fetch fold grant "
        "join lift list lock mark measure merge mount open pack pause queue raise read release renew "
        "report reset rotate scan seal send settle sort split stage start stop store sweep sync tag tally "
        "test trace trim wind"
    ),
    "colour": _words("amber black blue brown copper green grey ivory ochre pale-blue red rust violet white"),
    "material": _words(
        "oak brass felt slate copper linen glass clay ash-wood steel bone cork horn wax tin basalt canvas"
    ),
    "month": _words("January February March April May June July August September October November December"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "virtue": _items(
        "fairness | safety | clarity | speed | trust | economy | simplicity | good order | accuracy | "
        "patience | endurance | tidiness | predictability | comfort | privacy"
    ),
    "must": ("must", "has to", "is required to", "needs to", "is expected to"),
    "may": ("may", "can", "is free to", "is allowed to", "might"),
    "often": ("often", "usually", "sometimes", "rarely", "almost always", "now and then"),
    "manner": _items(
        "at once | with care | in {place} | on behalf of {person} | before {weekday} | without any "
        "{object} | as agreed with {person} | up to {n} times | for the benefit of {b} | in the presence "
        "of another {actor} | instead of {a} | no later than {month}"
    ),
    "lead": _items(
        "in practice | as a rule | by custom | in most cases | for this reason | in {place} | since "
        "{a.year} | on {weekday}s | at first | more precisely | in addition | by contrast | strictly "
        "speaking | under {a} | for example | on the other hand | according to {person} | after {a.days} "
        "days | where {a} is involved"
    ),
    "tail": _items(
        "unless {cond} | as described in {ref} | even when {cond} | provided that {cond} | which {person} "
        "still disputes | and never more than {a.limit} times | until {event} | for the sake of {virtue} "
        "| as {person} first pointed out | with the exception of {b} | but only in {place} | within "
        "{a.days} days | and the same holds for {b}"
    ),
    "cond": _items(
        "{event} | {a} is already in use | fewer than {n} {objects} remain | the {actor} agrees in "
        "writing | {b} is present | the {object} has been checked twice | {person} is absent | more than "
        "{a.limit} {objects} are involved | the limit of {a.number} {a.unit} has been reached | another "
        "{actor} objects | the {object} is {adj} | no {object} is left"
    ),
}
_SENTENCES: tuple[str, ...] = (
    "{a} is a {a.trait} {a.kind} rated at {a.number} {a.unit}.",
    "The {actor} who wants to {act} should first look at {a}.",
    "When {event}, the {actor} has to {act}.",
    "It is possible to {act} and to {act} at the same time.",
    "{person} keeps a list of every {object} and reads it aloud when {event}.",
    "Compared with {b}, {a} needs {a.days} days instead of {b.days}.",
    "There are two ways to {act}: with {a}, or by means of {b}.",
    "Nobody may {act} while {cond}.",
    "A common mistake is to {act} before {event}.",
    "The difference between {a} ({a.code}) and {b} ({b.code}) is a matter of {virtue}.",
    "If {cond}, then {a} counts as {a.trait} and its limit falls from {a.limit} to {n}.",
    "Every {object} has a {adj} side and a {adj} side.",
    "Until {a.year}, the {actor} was expected to {act}; today it is enough to {act}.",
    "What matters most here is {virtue}, followed by {virtue}.",
    "{person} asked why the {actor} should {act} at all, and the answer is {virtue}.",
    "Of the {big} {objects} counted in {place}, only {n} were {adj}.",
    "{ref_cap} explains how to {act}; this part only says when.",
    "The {actor} can {act}, {act}, or do nothing.",
    "{a} comes from {a.place}, where {a.owner} looks after it, and {b} from {b.place}.",
    "An experienced {actor} will {act} as soon as {event}.",
    "The value of {a} is always {a.number} {a.unit}, no matter what {b} says.",
    "Once {event}, there is no way back: the {object} stays {adj}.",
    "Some prefer {a} because it is {a.trait}; others choose {b}, which is {b.trait}.",
    "Please note that {a.owner} alone may {act} for {a}.",
    "The reason is simple: without a {object}, nobody can {act}.",
    "In {month}, {big} {objects} passed through {place}, about {n} for each {actor}.",
    "The {object} is kept in {place} and shown only when {event}.",
    "{a} has not changed since {a.year}, apart from its {a.colour} mark.",
    "To {act}, three things are needed: a {object}, {a.number} {a.unit} of time, and some {virtue}.",
    "Anyone who has seen {b} will recognise {a} at once.",
    "This holds for {a}, for {b}, and for every other {a.kind} named in {ref}.",
    "It took {person} {a.days} days to {act}, and {n} more to write it down.",
    "The {a.colour} {object} belongs to {a}, the {b.colour} one to {b}.",
    "Should the {actor} fail to {act}, {a.owner} decides what happens next.",
    "Neither {a} nor {b} is required, but {virtue} suffers without them.",
    "At most {a.limit} {objects} may be used with {a} at the same time.",
    "A {adj} {object} is worth {n} {adj} ones.",
    "How often one may {act} depends on {a}: once for every {a.number} {a.unit}.",
    "The older name of {a} was taken from {place}, but {a.code} is the one in use.",
    "{person} and {person} disagree about {a}, and {ref} gives both views.",
    "Before {event}, the {actor} {must} {act}; afterwards it is too late.",
    "Whoever holds {a} {may} {act}, whereas the holder of {b} {must} {act}.",
    "Think of {a} as the {adj} {noun} that keeps {b} in its place.",
    "{a} {often} causes trouble when {event} and {cond}.",
    "Three {objects} are set aside for {person}: one {adj}, one {adj} and one {adj}.",
    "The {actor} {often} confuses {a} with {b}, although only the first is {a.trait}.",
    "No {object} leaves {place} without the mark {a.code}, which {a.owner} applies by hand.",
    "What {person} calls a {adj} {object} is simply {a} seen from the other side.",
    "Changing {a} from {a.number} to {big} {a.unit} has no effect on {b}, but it {often} worries the "
    "{actor}.",
    "The first {object} is free; each further one costs {n} and takes {a.days} days.",
    "Why not {act} instead? Because {event} more often than one would like.",
    "{a.place} and {b.place} follow different rules: the former asks the {actor} to {act}, the latter not.",
    "All of this might sound {adj}, but in {place} it has worked since {a.year}.",
    "A {adj} {object} next to a {adj} one is a sign that {event}.",
    "Keep {a} away from {b}; together they leave the {object} {adj}.",
    "During {month} the limit rises to {big}, and the {actor} {may} {act} twice.",
    "To sum up, {a} is about {virtue}, {b} about {virtue}, and neither works alone.",
    "The {actor} {must} tell {a.owner} as soon as {event}.",
    "{n} out of {big} {objects} {often} turn out to be {adj}, for reasons given in {ref}.",
    "It makes no difference whether one starts with {a} or with {b}, as long as nobody tries to {act}.",
    "Earlier, {person} would {act} by hand; since {a.year} the {actor} does it with {a}.",
    "The shortest way to {act} is to {act} first.",
    "If in doubt, {act}; if still in doubt, ask {a.owner}.",
    "What happens to {b} when {event} is described in {ref}.",
    "{a} was meant for {virtue}, yet most people use it to {act}.",
    "The {actor} is free to {act}, provided the {object} stays in {place}.",
    "Only {a} and {b} survived the changes of {a.year}, when {big} {objects} were lost.",
    "One {object} in {place} still bears the old number, {b.code}.",
    "Since {a} needs {a.number} {a.unit} and {b} needs {b.number} {b.unit}, few use both on one day.",
    "The {adj} part is knowing when to {act}; the rest is {virtue}.",
    "A {actor} with {n} {objects} {must} choose between {a} and {b}.",
    "{person} learned this in {place}, where {event} almost every {weekday}.",
    "Suppose that {event}: then the {actor} {must} {act}, and {a} no longer counts.",
    "Two {objects} of the same colour cancel each other, except the {a.colour} ones of {a}.",
    "The list in {ref} names {n} cases, of which {a} is the most {adj}.",
    "{a.owner} checks {a} every {a.days} days and writes the result on a {adj} {object}.",
    "Apart from {a}, everything made of {a.material} {must} stay outside.",
    "When {cond}, even {a} cannot help.",
    "A good {actor} will {act} long before {event}.",
    "Some {objects} are {adj}, some are {adj}, and a few, like those of {place}, are both.",
    "Do not {act} just because {event}.",
    "For every {n} {objects}, count one for {a} and two for {b}.",
    "It {often} helps to {act}, above all if {cond}.",
    "The {actor} must not assume that {a} and {b} share a limit: it is {a.limit} for one, {b.limit} "
    "for the other.",
    "Last of all comes {a}, because it needs a {object} that is already {adj}.",
)
_FORMS = ("paragraph",) * 6 + ("list_block", "table", "note") + ("special",) * 3
_CAPITALISED = re.compile(
    r"^(The|A|An|It|There|This|When|If|Every|Both|In|At|To|Of|Once|Some|Nobody|Neither) "
)
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeioAEIO]|u(?!ni|se|rin))")


@dataclass
class Thing:
    """One entry of a document's cast; its facts stay the same wherever it is named."""

    name: str
    kind: str
    code: str
    number: int
    unit: str
    limit: int
    days: int
    year: int
    owner: str
    place: str
    trait: str
    colour: str
    material: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Genre:
    """The vocabulary and the habits of one kind of document.

    Args:
        titles: Templates of the document's title.
        kinds: What the things of the cast are.
        units: What their numbers count.
        naming: How things are called: "invented", "compound" or "snake".
        headings: Templates of section headings, in a plausible order.
        actors: Who acts.
        objects: What is acted on; regular nouns.
        acts: Verb phrases after "to".
        events: Clauses after "when".
        sentences: Sentence templates of this genre.
        special: Name of the `World` method that writes the genre's own blocks.
    """

    titles: tuple[str, ...]
    kinds: tuple[str, ...]
    units: tuple[str, ...]
    naming: str
    headings: tuple[str, ...]
    actors: tuple[str, ...]
    objects: tuple[str, ...]
    acts: tuple[str, ...]
    events: tuple[str, ...]
    sentences: tuple[str, ...]
    special: str


GENRES: dict[str, Genre] = {
    "rule book": Genre(
        titles=("{a}: Rules of Play", "The Game of {a}", "{a} and {b} — a game for {n} players"),
        kinds=("card", "tile", "figure", "scenario", "faction", "ability", "token"),
        units=("points", "coins", "moves", "cubes"),
        naming="compound",
        headings=_items(
            "Overview | Components | Setup | The Turn | Playing {a} | Combat | Trading | Movement | "
            "Hidden Information | Special Cases | The {adj} Variant | Scoring | End of the Game | Solo "
            "Play | Advice for Beginners | Glossary"
        ),
        actors=("active player", "dealer", "defender", "youngest player", "attacker", "table", "banker"),
        objects=("card", "token", "tile", "marker", "coin", "counter", "pawn"),
        acts=_items(
            "draw {n} cards | discard a {adj} token | move up to {n} spaces | place a marker on {a} | "
            "trade with a neighbour | reveal {b} | skip the {adj} phase | pay {n} coins to the bank | "
            "reroll one die | claim a tile | challenge the leader | shuffle the discard pile"
        ),
        events=_items(
            "the deck runs out | two players are tied | a double is rolled | the {adj} phase begins | a "
            "player holds more than {n} cards | {a} is revealed | the round marker reaches {n} | a tile "
            "is surrounded | someone calls for a count"
        ),
        sentences=(
            "On your turn, choose one of these: {act}, {act}, or {act}.",
            "Roll {n} dice and add {a.limit}; a total of {a.number} or more is a success.",
            "{a} costs {a.limit} coins to play and scores {a.number} points at the end.",
            "A player who controls {a} and {b} may immediately {act}.",
            "Ties are broken by the player who owns {a}, then by the number of {objects}.",
            "Each player begins with {n} {objects} and one copy of {a}.",
            "If a rule on {a} contradicts this book, the card wins.",
            "The damage is {n}, reduced by one for each {object} the defender spends.",
            "Example: Mira has {n} {objects} and plays {a}. She pays {a.limit} coins and may then {act}.",
            "After {a.limit} rounds the game ends, and whoever has the most points wins.",
            "You may never hold more than {a.limit} {objects}; discard the rest at once.",
            "{a} stays in front of you until {event}.",
        ),
        special="stat_block",
    ),
    "specification": Genre(
        titles=("The {a} Interchange Format", "{a} Protocol Specification, Version {n}.{n}"),
        kinds=("field", "frame", "header", "state", "message", "extension", "record"),
        units=("bytes", "milliseconds", "octets", "retries"),
        naming="snake",
        headings=_items(
            "Introduction | Terminology | Conformance | Data Model | Encoding | State Machine | Handling "
            "of {a} | Error Handling | Versioning | Security Considerations | Limits | Interoperability | "
            "Test Vectors | Registered Values | Privacy Considerations"
        ),
        actors=("sender", "receiver", "client", "server", "implementation", "relay", "parser"),
        objects=("frame", "header", "session", "identifier", "checksum", "key", "buffer"),
        acts=_items(
            "close the session | send `{a}` first | reject the frame | fall back to version {n} | pad the "
            "payload to {a.number} {a.unit} | ignore unknown fields | retransmit after {big} milliseconds "
            "| negotiate `{b}` | verify the checksum | log the offending offset"
        ),
        events=_items(
            "a timeout expires | the checksum does not match | `{a}` is missing | the peer sends a "
            "duplicate | the buffer is full | an unknown version is announced | the connection is reset | "
            "a field is truncated"
        ),
        sentences=(
            "A conforming {actor} MUST {act} when {event}.",
            "The {actor} SHOULD {act}; it MAY {act} instead if {cond}.",
            "The {actor} MUST NOT {act} before the `{a}` {a.kind} has been acknowledged.",
            "The `{a}` {a.kind} is {a.number} {a.unit} long and is identified by `0x{a.limit:02X}`.",
            "Values of `{a}` above {a.number} are reserved and MUST be treated as errors.",
            "If both `{a}` and `{b}` are present, `{a}` takes precedence.",
            "A {actor} that cannot {act} MUST respond with the error code {a.code}.",
            "The length of `{b}` is {b.number} {b.unit}, excluding the header defined in {ref}.",
            "Byte order is big-endian except in `{a}`, which is kept as received.",
            "Implementations SHOULD limit the number of open {objects} to {a.limit}.",
            "NOTE: earlier drafts required the {actor} to {act}; this is no longer the case.",
        ),
        special="requirements",
    ),
    "manual": Genre(
        titles=("{a} {big} — Owner's Manual", "Installing and Using the {a}"),
        kinds=("pump", "module", "dial", "filter", "sensor", "switch", "panel", "valve"),
        units=("bar", "watts", "litres", "millimetres"),
        naming="invented",
        headings=_items(
            "Before You Begin | What Is in the Box | Safety | Installation | First Use | Daily Operation "
            "| The {a} Explained | Cleaning | Troubleshooting | Maintenance Schedule | Spare Parts | "
            "Technical Data | Storage | Disposal | Warranty"
        ),
        actors=("user", "technician", "installer", "owner", "service partner"),
        objects=("cable", "cover", "screw", "gasket", "hose", "cartridge", "bracket"),
        acts=_items(
            "disconnect the power supply | tighten the {adj} screw | press the {a} button for {n} seconds "
            "| replace the gasket | rinse the filter with warm water | check the level of {a} | turn the "
            "{b} dial to {n} | wait until the lamp turns {a.colour} | remove the cover | call the service "
            "line"
        ),
        events=_items(
            "the lamp blinks {n} times | the pressure drops below {a.number} {a.unit} | the unit makes a "
            "{adj} noise | water leaks from {a} | the display shows {a.code} | the filter has been used "
            "for {a.days} days | the motor stops | the cover is open"
        ),
        sentences=(
            "Warning: never {act} while the unit is running.",
            "The {a} is set to {a.number} {a.unit} at the factory; do not exceed {a.limit} cycles a day.",
            "If {event}, switch the unit off and {act}.",
            "Clean the {a} every {a.days} days with a {adj} cloth.",
            "Error {a.code} means that the {a} reports a fault; {act} and start again.",
            "The {a} is made of {a.material} and must not touch the {b}.",
            "Hold the {object} with one hand and {act} with the other.",
            "Use only original parts: part number {a.code} fits the {a}, {b.code} fits the {b}.",
            "Leave at least {n} centimetres between the {a} and the wall.",
            "The warranty covers the {a} for {a.limit} months from the date of purchase.",
        ),
        special="steps",
    ),
    "field guide": Genre(
        titles=("A Field Guide to the Creatures of {place}", "Beasts of the {adj} Coast"),
        kinds=("bird", "lizard", "moth", "predator", "grazer", "spirit", "swimmer", "burrower"),
        units=("kilograms", "paces", "eggs", "spans"),
        naming="invented",
        headings=_items(
            "How to Use This Guide | Habitats | Tracks and Signs | Reading the Entries | The {a} in "
            "Detail | Migration | Nests and Lairs | Calls | Dangerous Encounters | Folklore | Keeping "
            "Records | Seasons | Feeding | Look-alikes"
        ),
        actors=("observer", "hunter", "herder", "ranger", "traveller", "villager"),
        objects=("nest", "track", "feather", "burrow", "shell", "trail", "tooth"),
        acts=_items(
            "stay downwind | follow the {adj} trail | count the young | leave food near the burrow | "
            "light a fire | imitate the call of the {a} | sketch the print | retreat to open ground | "
            "wait for dusk | carry a {a.material} bell"
        ),
        events=_items(
            "the tide turns | the herd crosses the ridge | a {a} is wounded | snow covers {place} | the "
            "young leave the nest | the moon is new | food is scarce | it hears a {adj} bell"
        ),
        sentences=(
            "The {a} weighs up to {a.number} {a.unit} and lives for about {a.limit} years.",
            "Its {a.colour} back makes the {a} hard to tell from the {b} at a distance.",
            "In {month} the {a} moves to {a.place}, where it feeds on {adj} reeds.",
            "When {event}, the {a} becomes {adj} and will attack anything that is not {adj}.",
            "The call of the {a} is a {adj} whistle repeated {n} times.",
            "A {b} that meets a {a} usually gives way, except when {event}.",
            "Its weakness is {a.material}: even a small piece keeps it {n} paces away.",
            "Females lay {n} eggs in a {adj} hollow and guard them for {a.days} days.",
            "Villagers in {place} believe that a {a} seen on a {weekday} brings luck.",
            "The track shows {n} toes and a drag mark, unlike that of the {b}.",
            "According to {a.owner}, fewer than {a.number} of them remain near {a.place}.",
        ),
        special="stat_block",
    ),
    "gazetteer": Genre(
        titles=("A Gazetteer of {place}", "The Towns and Waters of {place}, {a.year}"),
        kinds=("village", "market town", "harbour", "hamlet", "fort", "parish", "island"),
        units=("households", "boats", "sheep", "inhabitants"),
        naming="invented",
        headings=_items(
            "The Region | Roads | History | Climate | Trade | The Market at {a} | Customs | Government | "
            "Religion and Feasts | Notable People | Inns and Lodging | The Old Quarter of {a} | Waterways "
            "| Population | Legends"
        ),
        actors=("mayor", "traveller", "miller", "ferryman", "steward", "guild master", "toll keeper"),
        objects=("road", "bridge", "farm", "well", "mill", "gate", "chapel"),
        acts=_items(
            "repair the {adj} bridge | pay the toll at {a} | cross the river before noon | sell wool in "
            "{b} | ring the {adj} bell | open the sluices | elect a steward | travel by boat to {b} | "
            "store grain for {a.days} days | ask for lodging"
        ),
        events=_items(
            "the river floods | the fair of {month} opens | the harvest fails | the mayor dies | the pass "
            "is closed by snow | a wedding is announced | the toll is raised to {n} pennies | the fleet "
            "returns"
        ),
        sentences=(
            "{a}, founded in {a.year}, has {a.number} {a.unit} and a {a.material} gate.",
            "From {a} it is {n} hours on foot to {b}, by way of {place}.",
            "The market of {a} is held every {weekday} and is known for its {a.colour} cloth.",
            "{a.owner} governs {a} with a council of {a.limit}.",
            "The fire of {a.year} destroyed all but {n} houses in {a}.",
            "Visitors should see the {adj} {noun} above {a} and the {adj} {noun} in {b}.",
            "{a} and {b} share a {a.kind} court, which meets in {month}.",
            "Its inn, the {adj_cap} {noun_cap}, has {n} beds and asks {a.limit} pennies a night.",
            "Most families in {a} live by {adj} fishing or by the {a.material} trade.",
            "The people of {b} say that those of {a} cannot {act} without an argument.",
        ),
        special="ledger",
    ),
    "cli reference": Genre(
        titles=("`{a}` — command reference", "The {a} Command Line, Version {n}.{n}"),
        kinds=("command", "option", "subcommand", "flag", "setting"),
        units=("seconds", "lines", "files", "workers"),
        naming="snake",
        headings=_items(
            "Synopsis | Installation | Quick Start | Global Options | The `{a}` command | Configuration "
            "File | Environment Variables | Output Formats | Exit Codes | Examples | Working with `{a}` | "
            "Performance | Troubleshooting | Upgrading | Shell Completion"
        ),
        actors=("tool", "command", "scheduler", "caller", "worker", "script"),
        objects=("file", "job", "cache", "profile", "target", "pattern", "folder"),
        acts=_items(
            "read the file from standard input | pass `--{a}` explicitly | skip unchanged files | write a "
            "report | set `{b}` to {n} | run in a clean folder | stop at the first error | retry {n} "
            "times | print the plan without running it | lock the cache"
        ),
        events=_items(
            "`--{a}` is given twice | the file does not exist | the cache is older than {a.days} days | "
            "standard output is not a terminal | a worker fails | the configuration cannot be read | two "
            "jobs have the same name | `{b}` is not set"
        ),
        sentences=(
            "`{a}` takes a number of {a.unit} (default {a.number}) and conflicts with `{b}`.",
            "If {event}, the {actor} exits with code {n} and prints the name of the file.",
            "Use `--{a}` to {act}; without it, the {actor} will {act}.",
            "The default of `{a}` is {a.number} and its maximum {a.limit} times that.",
            "Settings come from the command line first, then from the environment, then from the "
            "file in {ref}.",
            "Since version {n}.{n}, `{a}` replaces the older `{b}`, which prints a warning.",
            "Relative paths given to `{a}` are resolved against the folder of the configuration file.",
            "When {event}, run the command again with `--{b}` to see the details.",
            "With {a.limit} workers, `{a}` processed {big} files in {n} seconds.",
        ),
        special="shell",
    ),
    "api reference": Genre(
        titles=("The {a} Library: Programmer's Guide", "{a} API Reference"),
        kinds=("function", "class", "method", "endpoint", "callback", "iterator"),
        units=("items", "milliseconds", "rows", "requests"),
        naming="snake",
        headings=_items(
            "Overview | Getting Started | Core Concepts | Configuring `{a}` | Authentication | Errors and "
            "Exceptions | Pagination | Callbacks | Thread Safety | Adding Your Own {a.kind} | Testing | "
            "Rate Limits | Migration Guide | Recipes | Internals"
        ),
        actors=("caller", "client", "library", "subclass", "handler", "application"),
        objects=("request", "handle", "buffer", "token", "row", "callback", "result"),
        acts=_items(
            "call `{a}()` first | pass `{b}` as a keyword argument | close the handle | catch the "
            "exception | return `None` | override `{a}()` | iterate over the result | copy the buffer | "
            "hold the lock | register a callback"
        ),
        events=_items(
            "`{a}()` raises | the handle is closed | the result is empty | more than {a.number} {a.unit} "
            "are requested | the token has expired | the argument is not a string | a callback returns "
            "false | the connection is shared"
        ),
        sentences=(
            "`{a}()` returns at most {a.number} {a.unit}; the rest is available through `{b}()`.",
            "The {a.kind} `{a}` is safe to use from several threads as long as {cond}.",
            "Raises `ValueError` if {event}.",
            "The argument `{b}` defaults to {b.number} and must be smaller than {big}.",
            "Call `{a}()` once at start-up; calling it again has no effect.",
            "Each request to `{a}` counts against the limit of {a.number} a minute.",
            "To {act}, subclass `{camel}` and implement `{a}` and `{b}`.",
            "The {actor} owns the returned {object} and has to {act}.",
            "Deprecated since {n}.{n}: use `{a}()` instead of `{b}()`.",
            "Both names are registered in the table of {ref}, so that the {actor} can {act}.",
        ),
        special="python",
    ),
    "proposal": Genre(
        titles=("Proposal {big}: {a} for {b}", "Design Document: Replacing {b} by {a}"),
        kinds=("mechanism", "interface", "registry", "notation", "rule", "process"),
        units=("users", "calls", "votes", "entries"),
        naming="compound",
        headings=_items(
            "Abstract | Motivation | Terminology | Specification | {a} in Detail | Rationale | Backwards "
            "Compatibility | Security Implications | How to Teach This | Reference Implementation | "
            "Rejected Ideas | Alternatives to {a} | Open Issues | Costs | Acknowledgements"
        ),
        actors=("author", "reviewer", "maintainer", "user", "council", "implementer", "reader"),
        objects=("entry", "call", "name", "contract", "default", "draft", "case"),
        acts=_items(
            "adopt {a} | keep the old behaviour | deprecate {b} | write a migration guide | reject "
            "ambiguous input | raise an error | store the entry twice | teach {a} before {b} | measure "
            "the cost | ask for consensus"
        ),
        events=_items(
            "two entries share a name | {a} is used without {b} | the default changes | a release is "
            "frozen | the reader meets {a} for the first time | an old program runs on a new version | no "
            "maintainer answers"
        ),
        sentences=(
            "We propose {a}, a {a.kind} that lets the {actor} {act}.",
            "Today the {actor} must {act}, which is error-prone when {event}.",
            "A survey of {big} projects found {a.number} {a.unit} of {b}, of which {n} were wrong.",
            "This proposal does not change {b}; code that relies on it keeps working.",
            "An earlier version suggested to {act}. This was rejected because {cond}.",
            "{person} suggested the name {a}; the alternative, {b}, was considered too {adj}.",
            "The {actor} MUST {act}, and SHOULD {act} when {event}.",
            "There are no known security implications beyond those of {b}.",
            "Beginners can think of {a} as a {adj} {object} with a name.",
            "The transition takes {a.limit} releases: first a warning, then an error.",
            "The prototype adds {big} lines and slows {b} down by less than {n} per cent.",
            "It is tempting to {act}, but that would break {b} when {event}.",
        ),
        special="python",
    ),
    "faq": Genre(
        titles=("{a}: Frequently Asked Questions", "Questions and Answers about the {a} Programme"),
        kinds=("membership", "ticket", "account", "service", "plan", "voucher", "device"),
        units=("crowns", "visits", "days", "guests"),
        naming="compound",
        headings=_items(
            "General | Joining | Prices | Using {a} | Changes and Cancellations | Problems | Privacy | "
            "For Families | For Businesses | Accessibility | Contact | Travelling with {a} | Lost and "
            "Found"
        ),
        actors=("member", "guest", "visitor", "customer", "host", "parent"),
        objects=("ticket", "card", "booking", "invoice", "password", "refund", "form"),
        acts=_items(
            "cancel a booking | change the date | bring {n} guests | ask for a refund | upgrade to {a} | "
            "combine {a} with {b} | reset the password | print the ticket | pause the plan for {n} weeks "
            "| register a second card"
        ),
        events=_items(
            "the card is lost | a payment fails | {a} is sold out | the weather is bad | the booking is "
            "less than {a.days} days away | a member moves to {place} | the office in {place} is closed"
        ),
        sentences=(
            "{a} costs {a.number} crowns a year and includes {a.limit} visits.",
            "You can {act} up to {a.days} days in advance, free of charge.",
            "Please write to {a.owner} in {a.place} and mention {a.code}.",
            "Yes, but only if {cond}.",
            "No; for that you need {b}, which costs {b.number} crowns.",
            "Refunds are paid within {a.days} days, minus a fee of {n} crowns.",
            "Children under {n} travel free when {event}.",
            "If {event}, the {actor} can still {act} at the desk in {place}.",
            "We keep your data for {a.days} days and use it only to {act}.",
        ),
        special="questions",
    ),
    "minutes": Genre(
        titles=("Minutes of the {a} Committee, {n} {month}", "{a} Working Group: Meeting Notes"),
        kinds=("project", "budget line", "motion", "report", "contract", "event"),
        units=("crowns", "hours", "members", "signatures"),
        naming="compound",
        headings=_items(
            "Attendance | Approval of the Agenda | Matters Arising | Report on {a} | Finances | Motion on "
            "{a} | Staffing | Building and Grounds | Correspondence | Complaint about {a} | Plans for "
            "{month} | Any Other Business | Actions | Next Meeting"
        ),
        actors=("chair", "treasurer", "secretary", "committee", "auditor", "delegate"),
        objects=("motion", "letter", "invoice", "quote", "report", "vote", "deadline"),
        acts=_items(
            "postpone {a} | approve the budget | write to {person} | ask for a second quote | circulate "
            "the report | hire {n} helpers | visit {place} | close the account of {b} | meet again on "
            "{weekday} | publish the figures"
        ),
        events=_items(
            "the treasurer returns | the quote arrives | {a} is finished | the vote is tied | the hall is "
            "let | the letter is answered | fewer than {n} members attend"
        ),
        sentences=(
            "{person} reported that {a} stands at {a.number} {a.unit}, {n} more than in {month}.",
            "{person} moved to {act}; {person} seconded. Carried {n} to {small}.",
            "ACTION: {a.owner} to {act} within {a.days} days (item {a.code}).",
            "The {actor} asked whether {a} could wait until {event}; {person} thought not.",
            "It was agreed to {act} and to report back on {weekday}.",
            "{person} declared an interest in {a} and left the room for this item.",
            "The cost of {b} is now {b.number} crowns against a budget of {big}.",
            "After some discussion, {person} withdrew the proposal to {act}.",
            "{person} thanked {a.owner} for the work on {a} in {a.place}.",
            "The committee noted that {cond} and decided to {act}.",
        ),
        special="ledger",
    ),
    "lab protocol": Genre(
        titles=("Protocol {a.code}: Extraction of {a}", "Laboratory Handbook: {a} and {b}"),
        kinds=("reagent", "buffer", "sample", "strain", "instrument", "stain"),
        units=("millilitres", "micrograms", "minutes", "degrees"),
        naming="invented",
        headings=_items(
            "Purpose | Principle | Materials | Safety | Preparation of {a} | Procedure | Incubation | "
            "Washing | Measurement | Calculation | Quality Control | Expected Results | Troubleshooting | "
            "Waste | Notes on {a}"
        ),
        actors=("operator", "student", "technician", "second reader", "supervisor"),
        objects=("tube", "plate", "pipette", "sample", "filter", "flask", "label"),
        acts=_items(
            "add {a.number} {a.unit} of {a} | mix gently for {n} minutes | discard the supernatant | "
            "label the tube {a.code} | keep the sample on ice | spin at {big} g | repeat the wash | read "
            "the plate at {big} nm | dilute {b} by {n} | record the temperature"
        ),
        events=_items(
            "the solution turns {a.colour} | a precipitate forms | the reading exceeds {a.number} | the "
            "control fails | the temperature passes {n} degrees | the tube leaks | {b} is older than "
            "{b.days} days"
        ),
        sentences=(
            "Add {a.number} {a.unit} of {a} to each {object} and wait {n} minutes.",
            "{a} is {a.colour} and must be stored in {a.material} for no more than {a.days} days.",
            "If {event}, {act} and start again from {ref}.",
            "Expect between {n} and {big} units; a lower value means that {b} was not fresh.",
            "The {actor} signs for lot {a.code} and notes the time.",
            "Wear gloves: {a} stains, and {b} irritates the skin.",
            "Run {a.limit} replicates and one blank without {b}.",
            "Multiply the reading by {a.number} and divide by {a.limit} to obtain the concentration.",
            "Do not {act} after {event}, since {a} breaks down quickly.",
            "The ratio of {a} to {b} is {a.number} to {b.number}.",
        ),
        special="steps",
    ),
    "terms": Genre(
        titles=("Terms and Conditions of the {a} Service", "Charter of the {a} Society"),
        kinds=("licence", "fee", "deposit", "right", "duty", "schedule"),
        units=("crowns", "days", "per cent", "shares"),
        naming="compound",
        headings=_items(
            "Definitions | Scope | Formation of the Agreement | The {a} | Fees and Payment | Duties of "
            "the Parties | Warranties | Limitation of Liability | Term and Termination | Confidentiality "
            "| Transfer | Force Majeure | Disputes | Notices | Final Provisions"
        ),
        actors=("Provider", "Customer", "Member", "Keeper", "Tenant", "Board"),
        objects=("notice", "invoice", "deposit", "claim", "schedule", "copy", "asset"),
        acts=_items(
            "terminate this agreement | pay the {a} | give written notice | suspend {b} | inspect the "
            "records | return every asset | amend Schedule {n} | transfer {a} to a third party | withhold "
            "payment | appoint an arbiter"
        ),
        events=_items(
            "an invoice is overdue by {a.days} days | the Board so decides | a party is dissolved | the "
            "{a} is exhausted | notice has been given | the term ends | a claim is disputed"
        ),
        sentences=(
            "The {actor} shall {act} within {a.days} days after {event}.",
            '"{a}" means the {a.kind} of {a.number} {a.unit} set out in {ref}.',
            "Neither party may {act} unless {cond}.",
            "The liability of the {actor} under {a} shall not exceed {a.number} {a.unit}.",
            "Notices shall be sent to {a.owner} at {a.place} and take effect after {n} days.",
            "Where {a} conflicts with {b}, {a} prevails.",
            "The {actor} waives any right to {act}, save where {event}.",
            "This clause survives termination for {a.limit} years.",
            "The {actor} may {act}, but shall in no event {act}.",
            "Disputes about {b} are heard in {place} by {n} arbiters.",
        ),
        special="clauses",
    ),
    "chronicle": Genre(
        titles=("The Chronicle of {place}", "{a}: An Account of the Years after {a.year}"),
        kinds=("ship", "house", "treaty", "siege", "journey", "bridge", "guild"),
        units=("men", "leagues", "winters", "barrels"),
        naming="compound",
        headings=_items(
            "Beginnings | The Founding of {a} | The {adj} Winter | A Letter from {place} | The Quarrel "
            "over {a} | {person} Returns | The Long Road | Peace and Its Price | The Trial | What Became "
            "of {a} | Sources | The Flood | A New Council | Remembrance"
        ),
        actors=("captain", "queen", "envoy", "scribe", "widow", "smith", "council"),
        objects=("letter", "sword", "ship", "seal", "map", "prisoner", "song"),
        acts=_items(
            "march to {place} | burn the letters | rebuild {a} | sue for peace | hide in {place} | sell "
            "{b} for {n} barrels | swear an oath | wait for the spring | send {person} to {place} | count "
            "the dead"
        ),
        events=_items(
            "the snow melted | the envoy arrived | {a} was lost | the old queen died | the harvest came "
            "in | word came from {place} | {person} spoke | the gates were opened"
        ),
        sentences=(
            "In the year {a.year}, {a.owner} set out from {a.place} with {a.number} {a.unit}.",
            '"We cannot {act}," said {person}, "until the matter of {a} is settled."',
            "{person} wept when {event}, for {b} had been {person}'s whole life.",
            "Of those who left for {place}, {n} came back, and none would speak of {a}.",
            "The {actor} chose to {act}, and the {actor} never forgave it.",
            "For {a.days} days they could do nothing but {act}.",
            "So {a} passed to {a.owner}, who kept it for {a.limit} years.",
            "Nobody in {place} remembered a {adj} winter like that one.",
            "Then, on a {weekday} in {month}, {person} found the {a.colour} {object}.",
            "It was {person} who first thought to {act}, though {person} took the credit.",
        ),
        special="ledger",
    ),
}


class World:
    """The plan of one document and the means to write it; also the mapping that fills a template's slots."""

    def __init__(self, seed: int, num_words: int) -> None:
        self.rng = random.Random(f"world {seed}")
        self.genre = list(GENRES.values())[seed % len(GENRES)]
        self.sounds = [part.split() for part in self.rng.choice(_SOUNDS)]
        self.decks: dict[int, list[Any]] = {}
        self.used_names: set[str] = set()
        self.numbered = self.rng.random() < 0.6
        self.people = [f"{self.word(2)} {self.word(self.rng.choice((1, 2, 3)))}" for _ in range(7)]
        self.places = [self.word(self.rng.choice((2, 3))) for _ in range(6)]
        self.banks = _COMMON | {
            "person": tuple(self.people),
            "place": tuple(self.places),
            "actor": self.genre.actors,
            "object": self.genre.objects,
            "objects": tuple(_plural(noun) for noun in self.genre.objects),
            "event": self.genre.events,
        }
        self.makers: dict[str, Callable[[], object]] = {
            "a": lambda: self.first,
            "b": lambda: self.second,
            "n": lambda: self.rng.randint(2, 12),
            "small": lambda: self.rng.randint(0, 4),
            "big": lambda: self.rng.choice((10, 25, 50)) * self.rng.randint(2, 40),
            "act": self.action,
            "ref": self.reference,
            "ref_cap": lambda: _capital(self.reference()),
            "adj_cap": lambda: self.rng.choice(_COMMON["adj"]).title(),
            "noun_cap": lambda: self.rng.choice(_COMMON["noun"]).title(),
            "camel": lambda: _camel(str(self.first)),
        }
        num_sections = max(2, num_words // 240)
        self.things = [self.thing() for _ in range(max(4, min(18, num_sections)))]
        self.first, self.second = self.things[:2]
        self.title = self.fill(self.rng.choice(self.genre.titles))
        self.headings = self.plan_headings(num_sections)

    def __getitem__(self, slot: str) -> object:
        if slot in self.makers:
            return self.makers[slot]()
        text = self.draw(self.banks[slot])
        return text.format_map(self) if "{" in text else text

    def fill(self, template: str) -> str:
        """The template with every slot filled."""
        return template.format_map(self)

    def draw(self, bank: Sequence[Item]) -> Item:
        """A member of the bank; none comes twice before all have come once."""
        deck = self.decks.setdefault(id(bank), [])
        if not deck:
            deck.extend(self.rng.sample(bank, len(bank)))
        return deck.pop()

    def word(self, syllables: int) -> str:
        """An invented capitalised word in the sounds of this world, new to the document."""
        onsets, vowels, codas = self.sounds
        while True:
            parts = [self.rng.choice(onsets) + self.rng.choice(vowels) for _ in range(syllables)]
            name = ("".join(parts) + (self.rng.choice(codas) if self.rng.random() < 0.7 else "")).title()
            if name not in self.used_names and len(name) > 2:
                self.used_names.add(name)
                return name
            syllables += 1

    def thing_name(self) -> str:
        """A name in the genre's manner, new to the document."""
        while True:
            adjective, noun = self.rng.choice(_COMMON["adj"]), self.rng.choice(_COMMON["noun"])
            if self.genre.naming == "snake":
                name = f"{self.rng.choice(_COMMON['verb'])}_{noun}"
            elif self.genre.naming == "invented":
                return self.word(self.rng.choice((2, 2, 3)))
            else:
                name = (
                    f"{adjective} {noun}".title()
                    if self.rng.random() < 0.6
                    else f"{self.word(2)} {noun.title()}"
                )
            if name not in self.used_names:
                self.used_names.add(name)
                return name

    def thing(self) -> Thing:
        """A new member of the cast with all its facts."""
        rng, genre = self.rng, self.genre
        return Thing(
            name=self.thing_name(),
            kind=rng.choice(genre.kinds),
            code=f"{''.join(rng.choices('ABCDEFGHKLMNPRSTVW', k=2))}-{rng.randint(100, 999)}",
            number=rng.choice((1, 2, 5, 10)) * rng.randint(2, 48),
            unit=rng.choice(genre.units),
            limit=rng.randint(2, 20),
            days=rng.choice((3, 5, 7, 10, 14, 21, 28, 30, 45, 60, 90)),
            year=rng.randint(1102, 1987),
            owner=rng.choice(self.people),
            place=rng.choice(self.places),
            trait=rng.choice(_COMMON["adj"]),
            colour=rng.choice(_COMMON["colour"]),
            material=rng.choice(_COMMON["material"]),
        )

    def plan_headings(self, count: int) -> list[str]:
        """The document's section headings: the genre's own, in order, then one for each further thing."""
        own = self.genre.headings
        chosen = sorted(self.rng.sample(range(len(own)), min(count, len(own))))
        headings: list[str] = []
        for place, index in enumerate(chosen):
            self.first = self.things[place % len(self.things)]
            heading = _capital(self.fill(own[index]))
            headings.append(heading if heading not in headings else f"More on {self.first}")
        extra = [f"{thing.name} ({thing.code})" for thing in self.things]
        headings += extra[: count - len(headings)]
        return headings

    def action(self) -> str:
        """A verb phrase of the genre, sometimes with its manner."""
        text = self.fill(self.draw(self.genre.acts))
        return f"{text} {self['manner']}" if self.rng.random() < 0.2 else text

    def reference(self) -> str:
        """Words that name a section of this document."""
        index = self.rng.randrange(len(self.headings))
        return f"section {index + 1}" if self.numbered else f'"{self.headings[index].replace("`", "")}"'

    def focus(self, section: int) -> None:
        """Choose the two things that the next sentence may name; mostly the section's own."""
        near = section % len(self.things)
        self.first = self.things[near] if self.rng.random() < 0.55 else self.rng.choice(self.things)
        self.second = self.rng.choice(self.things)
        if self.second is self.first:
            self.second = self.things[self.things.index(self.first) - 1]

    def sentence(self, section: int) -> str:
        """One sentence about the section's things."""
        self.focus(section)
        own = self.rng.random() < 0.45
        text = self.fill(self.draw(self.genre.sentences if own else _SENTENCES))
        roll = self.rng.random()
        if roll < 0.16 and _CAPITALISED.match(text):
            text = f"{self['lead']}, {text[0].lower()}{text[1:]}"
        elif roll > 0.86 and text.endswith(".") and "; " not in text and ": " not in text:
            text = f"{text[:-1]}, {self['tail']}."
        return _capital(text)

    def paragraph(self, section: int, sentences: int = 0) -> str:
        """A few sentences on one line."""
        return " ".join(self.sentence(section) for _ in range(sentences or self.rng.randint(3, 6)))

    def list_block(self, section: int) -> str:
        """A bulleted or numbered list with a line that introduces it."""
        self.focus(section)
        intro = self.fill(
            self.rng.choice(
                _items(
                    "To {act}: | The {actor} should keep in mind: | When {event}: | For {a}, the "
                    "following applies. | The most important points about {a} and {b}:"
                )
            )
        )
        numbered = self.rng.random() < 0.4
        lines: list[str] = []
        for number in range(1, self.rng.randint(3, 6) + 1):
            self.focus(section)
            pattern = self.rng.choice(
                _items(
                    "{act}. | **{a}**: {act} if {event}. | {a} — {a.number} {a.unit}, {a.trait}. | if "
                    "{event}, {act}."
                )
            )
            lines.append(f"{f'{number}.' if numbered else '-'} {_capital(self.fill(pattern))}")
        return "\n".join([_capital(intro), "", *lines])

    def table(self, section: int) -> str:
        """A table of some things with their facts."""
        genre = self.genre
        columns: dict[str, Callable[[Thing], object]] = {
            "Code": lambda thing: thing.code,
            "Kind": lambda thing: thing.kind,
            genre.units[0].capitalize() + " etc.": lambda thing: f"{thing.number} {thing.unit}",
            "Limit": lambda thing: thing.limit,
            "Keeper": lambda thing: thing.owner,
            "Place": lambda thing: thing.place,
            "Since": lambda thing: thing.year,
            "Colour": lambda thing: thing.colour,
            "Days": lambda thing: thing.days,
        }
        names = self.rng.sample(list(columns), self.rng.randint(2, 4))
        start = section % len(self.things)
        rows = (self.things[start:] + self.things[:start])[: self.rng.randint(3, 7)]
        head = ["| Name | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        body = [
            f"| {thing} | " + " | ".join(str(columns[name](thing)) for name in names) + " |" for thing in rows
        ]
        return "\n".join(head + body)

    def note(self, section: int) -> str:
        """A remark set off from the text."""
        word = self.rng.choice(("Note", "Example", "Tip", "Warning", "Remember"))
        return f"> **{word}:** {self.sentence(section)}"

    def stat_block(self, section: int) -> str:
        """A creature's or component's entry: numbers first, then habits."""
        self.focus(section)
        thing = self.first = self.draw(self.things)
        lines = [
            f"**{thing}** ({thing.kind}, {thing.code})",
            f"{thing.number} {thing.unit}, strength {thing.limit}, {thing.colour} {thing.material}",
        ]
        lines += [f"- {_capital(self.fill('when {event}: {act}.'))}" for _ in range(self.rng.randint(2, 3))]
        return "\n".join(lines)

    def requirements(self, section: int) -> str:
        """Numbered requirements."""
        lines: list[str] = []
        for number in range(1, self.rng.randint(3, 5)):
            self.focus(section)
            clause = "The {actor} {must} {act}{when}.".replace(
                "{must}", self.rng.choice(("MUST", "MUST NOT", "SHOULD", "MAY", "SHALL"))
            ).replace("{when}", self.rng.choice(("", " when {event}", " if {cond}", " ({ref})")))
            lines.append(f"**R{section + 1}.{number}** {self.fill(clause)}")
        return "\n\n".join(lines)

    def steps(self, section: int) -> str:
        """A numbered procedure with times and quantities."""
        lines: list[str] = []
        for number in range(1, self.rng.randint(5, 8)):
            self.focus(section)
            pattern = self.rng.choice(
                _items(
                    "{act}. | {act}, then {act}. | {act} within {n} minutes. | if {event}, {act}. | {act} "
                    "(see {ref})."
                )
            )
            lines.append(f"{number}. {_capital(self.fill(pattern))}")
        return "\n".join(lines)

    def ledger(self, section: int) -> str:
        """Dated entries of a register."""
        lines: list[str] = []
        for _ in range(self.rng.randint(3, 5)):
            self.focus(section)
            pattern = self.rng.choice(
                ("{a}: {act} ({person}).", "{person}, {place}: {a.number} {a.unit} for {a}.")
            )
            lines.append(f"- *{self.rng.randint(1, 28)} {self['month']}* — {_capital(self.fill(pattern))}")
        return "\n".join(lines)

    def shell(self, section: int) -> str:
        """A command with its output."""
        self.focus(section)
        tool, first, second = str(self.things[0]).replace("_", "-"), self.first, self.second
        file = f"{self['noun']}.{self.rng.choice(('toml', 'csv', 'log'))}"
        lines = [f"$ {tool} {first} --{second}={second.number} {file}"]
        lines += [f"{first}: {first.number} {first.unit}, limit {first.limit}"]
        lines += [f"warning: {second} ({second.code}) is {second.trait}"] if self.rng.random() < 0.5 else []
        lines += [f"done in {self['n']}.{self['n']} s"]
        return "\n".join(["```console", *lines, "```"])

    def python(self, section: int) -> str:
        """A short piece of Python that uses two names of the document."""
        self.focus(section)
        name, other = (_identifier(str(thing)) for thing in (self.first, self.second))
        module, item = _identifier(str(self.things[0])), self["noun"]
        limit, number, days = self.first.limit, self.second.number, self.first.days
        variants = (
            f"from {module} import {name}, {other}\n\n{item} = {name}({other}={number})\n"
            f"for entry in {item}:\n    print(entry.{self['verb']}())",
            f"class {_camel(name)}(Base):\n    limit = {limit}\n\n"
            f"    def {other}(self, {item}):\n        if len({item}) > self.limit:\n"
            f'            raise ValueError("{name}: at most {limit} entries")\n'
            f"        return sorted({item})",
            f"try:\n    {name}({item}, timeout={days})\nexcept {_camel(other)}Error as error:\n"
            f"    log.warning('{self.second.code}: %s', error)\n    raise",
            f"@{module}.register\ndef {name}({item}, *, {other}={number}):\n"
            f"    {self['noun']}s = [part for part in {item} if part.{self['verb']}]\n"
            f"    assert len({item}) <= {limit}\n    return {item}[:{other}]",
            f"with {module}.{self['verb']}({other}={number}) as {item}:\n"
            f"    while not {item}.done:\n        {item}.{name}({days})",
        )
        return f"```python\n{self.rng.choice(variants)}\n```"

    def questions(self, section: int) -> str:
        """A question and its answer."""
        self.focus(section)
        question = self.fill(
            self.rng.choice(
                _items(
                    "How do I {act}? | Can I {act} with {a}? | What happens if {event}? | What is the "
                    "difference between {a} and {b}? | Why was I asked to {act}? | Who is responsible for "
                    "{a}? | How long does {a} last?"
                )
            )
        )
        return f"**{question}**\n\n{self.paragraph(section, self.rng.randint(1, 3))}"

    def clauses(self, section: int) -> str:
        """Numbered clauses, one of them with lettered items."""
        lines = [
            f"{section + 1}.{number} {self.sentence(section)}" for number in range(1, self.rng.randint(3, 5))
        ]
        items = [f"   ({letter}) {self['act']};" for letter in "abcd"[: self.rng.randint(2, 4)]]
        lines.append(
            "\n".join([f"{section + 1}.{len(lines) + 1} {self.fill('The {actor} may not:')}", *items])
        )
        return "\n\n".join(lines)

    def block(self, section: int) -> str:
        """One block of a section: text mostly, sometimes a list, a table or the genre's own form."""
        form = self.draw(_FORMS)
        return getattr(self, self.genre.special if form == "special" else form)(section)

    def write(self, num_words: int) -> str:
        """The document, its length within a tenth of `num_words`."""
        blocks = [f"# {self.title}", self.paragraph(0, 2)]
        written = _count(blocks)
        for section, heading in enumerate(self.headings):
            blocks.append(f"## {section + 1}. {heading}" if self.numbered else f"## {heading}")
            blocks.append(self.paragraph(section, 2))
            written += _count(blocks[-2:])
            budget = num_words * (section + 1) // len(self.headings)
            while written < budget:
                missing = budget - written
                blocks.append(
                    self.block(section) if missing > 70 else self.paragraph(section, missing // 19 + 1)
                )
                written += _count(blocks[-1:])
        return _ARTICLE.sub(r"\1n ", "\n\n".join(blocks)) + "\n"


def _count(blocks: Sequence[str]) -> int:
    return sum(len(block.split()) for block in blocks)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _camel(name: str) -> str:
    return name.title().replace("_", "")


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name).lower()


def generate_world(seed: int, num_words: int) -> str:
    """An invented English document in Markdown; the same text for the same arguments.

    Consecutive seeds go through all genres in turn.

    Args:
        seed: Chooses the genre, the cast and the wording.
        num_words: Wanted length in words, kept to within a tenth.

    Returns:
        The document.

    Raises:
        ValueError: If `num_words` is out of range.
    """
    if not MIN_WORDS <= num_words <= MAX_WORDS:
        raise ValueError(
            f"num_words must be between {MIN_WORDS} and {MAX_WORDS}, got {num_words}: "
            "ask for several documents instead"
        )
    return World(seed, num_words).write(num_words)
