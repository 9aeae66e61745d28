"""Does an answer state a phrase? Found word by word, and not where it is denied, asked, or one of two.

Words are compared after Unicode normalisation (NFKC), without case, articles and punctuation around them. They are what
spaces separate, so phrases inside unspaced scripts are not found.

Every place where the phrase stands is one of these; the last that is not asked decides, so that an answer may correct
itself:

- denied: "not X", "neither Y nor X", "Y rather than X", "X is wrong", "Y, not X";
- asked: in a sentence that ends in a question mark, unless "yes" follows;
- open: "either X or Y", "X or Y";
- stated: all else, so "Y, X", "not Y but X", "Y? No, X" and "not only X".

The rules are those of words and punctuation, not of grammar. Words that repeat the question, three in a row or all of
it, say nothing.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

Standing = Literal["stated", "open", "asked", "denied"]

# NFKC leaves typographic quotes, dashes and the minus sign as they are.
_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "−": "-"})  # noqa: RUF001
_AROUND_WORD = re.compile(r"^[\W_]+|[\W_]+$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

_ARTICLES = frozenset({"a", "an", "the"})
_REACH = 12  # words over which a denial is carried
_QUOTED = 3  # words in a row that make a quote of the question


def _set(*words: str) -> frozenset[str]:
    return frozenset(word for line in words for word in line.split())


# Words, and pairs of words, that deny.
_DENIES = _set(
    "not never no nope nor neither cannot nobody none nothing nowhere without except excluding unlike wrong incorrect",
    "incorrectly false untrue mistaken mistakenly deny denies denied exclude excludes",
) | {"rather than", "other than", "instead of", "opposed to", "far from", "ruled out", "rule out", "anything but"}
# A new thought: what stands before it denies nothing behind it.
_NEW_CLAUSE = _set(
    "but however yet instead rather whereas while although though because since so then until therefore hence thus",
    "actually only just merely simply doubt doubtless wonder unless",
)
_IS = _set("is was are were it's he's she's that's there's they're")
# "I do not think it is X" denies X, "those who did not sign were X" does not.
_OF_OPINION = _set(
    "think believe say says said mean means claim suppose true case sure certain clear correct wrong incorrect false",
    "untrue right state states mention mentions imply implies",
)
_BEFORE_NOUN = _ARTICLES | _set("in at to on of from by with into for my his her its their that this")
_AUXILIARY = _IS | _set("did does do has have had can could would will may might must should be")
_FALSE = _set("wrong incorrect false untrue mistaken impossible excluded")
_AGREES = _set("yes yeah yep correct right indeed exactly")
_NOT_ANOTHER = _set("so more less thereabouts about later earlier simply just also")
_ABBREVIATIONS = _set("mr mrs ms dr st prof sr jr mt gen col lt rev capt sgt vs")


def contains_phrase(text: str, phrase: str) -> bool:
    """Whether the phrase occurs in the text as whole words; "12" is neither in "112" nor in "12.5"."""
    return bool(_Answer(text, phrase).places())


def states(text: str, phrase: str, question: str = "") -> bool:
    """Whether the text gives the phrase, of one or more words, as its answer to the question."""
    return _Answer(text, phrase, question).standing() == "stated"


def names(text: str, phrase: str, question: str = "") -> bool:
    """Whether the text gives the phrase as its answer or as one of several; arguments as for `states`."""
    return _Answer(text, phrase, question).standing() in ("stated", "open")


def has_words(phrase: str) -> bool:
    """Whether there is a letter or digit to look for."""
    return bool(_words(phrase))


def plain(text: str) -> str:
    """The text with one form of each quote, dash and minus, after NFKC."""
    return unicodedata.normalize("NFKC", text).translate(_PLAIN)


def without_thousands(text: str) -> str:
    """`plain` text with 1,234 as 1234."""
    return _THOUSANDS.sub("", plain(text))


@dataclass
class _Word:
    """A word as written, and what stands between it and the next one."""

    text: str
    after: str = ""


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    for chunk in re.findall(r"\n|[^\s]+", without_thousands(text)):
        core = _AROUND_WORD.sub("", chunk)
        before, _, after = chunk.partition(core) if core else (chunk, "", "")
        if words:
            words[-1].after += before
        if core:
            words.append(_Word(core, after))
    return words


class _Answer:
    """An answer, and the places in it where a phrase stands."""

    def __init__(self, text: str, phrase: str, question: str = "") -> None:
        wanted = [word.text for word in _words(phrase)]
        # The option "A" is nothing but an article: then articles count, and case tells the two apart.
        as_written = all(word.casefold() in _ARTICLES for word in wanted)
        self.words = _without_articles(_words(text)) if not as_written else _words(text)
        shown = [word.text if as_written else word.text.casefold() for word in self.words]
        self.starts = list(accumulate((len(word) + 1 for word in shown), initial=0))
        self.text = " ".join(shown)
        kept = wanted if as_written else [word.casefold() for word in wanted if word.casefold() not in _ARTICLES]
        self.wanted, self.asks = " ".join(kept), "?" in phrase
        low = [word.text.casefold() for word in self.words]
        self.quoted = _quoted(low, question)
        self.low = ["" if number in self.quoted else word for number, word in enumerate(low)]

    def places(self) -> list[tuple[int, int]]:
        """First and last word of each place where the phrase stands."""
        if not self.wanted:
            return []
        before = r"(?<!\d[.,])" if self.wanted[0].isdigit() else ""
        after = r"(?![.,]\d)" if self.wanted[-1].isdigit() else ""
        found = re.finditer(rf"(?<![^\W_]){before}{re.escape(self.wanted)}(?![^\W_]){after}", self.text)
        return [
            (bisect_right(self.starts, each.start()) - 1, bisect_right(self.starts, each.end() - 1) - 1)
            for each in found
        ]

    def standing(self) -> Standing | None:
        """How the answer stands to the phrase; None where it does not say it, or only asks or repeats the question."""
        for first, last in reversed(self.places()):
            if not self.quoted.issuperset(range(first, last + 1)):
                standing = self._standing(first, last)
                if standing != "asked":
                    return standing
        return None

    def _standing(self, first: int, last: int) -> Standing:
        end = self._sentence(last)[1]
        if "?" in self.words[end].after and not self.asks and self._low(end + 1) not in _AGREES:
            return "asked"
        if self._denied_before(first, last) or self._denied_after(last):
            return "denied"
        return "open" if self._is_one_of_two(first, last) else "stated"

    def _ends(self, number: int) -> bool:
        """Whether a sentence ends behind a word."""
        after = self.words[number].after
        if "." in after and set(after) <= {".", ","} and number + 1 < len(self.words):
            word = self.words[number].text
            return not (len(word) == 1 and word.isupper()) and word.casefold() not in _ABBREVIATIONS
        return bool(set(after) & set(".!?;:\n")) and not (":" in after and self._denies(number))

    def _sentence(self, number: int) -> tuple[int, int]:
        """First and last word of the sentence of a word."""
        first, last = number, number
        while first > 0 and not self._ends(first - 1):
            first -= 1
        while last + 1 < len(self.words) and not self._ends(last):
            last += 1
        return first, last

    def _low(self, number: int) -> str:
        """A word in lower case; empty where there is none, or it repeats the question."""
        return self.low[number] if number < len(self.low) else ""

    def _denies(self, number: int) -> bool:
        word = self.low[number]
        return word in _DENIES or word.endswith("n't") or self._is_pair(number)

    def _is_pair(self, number: int) -> bool:
        """Whether a word and the next one deny together."""
        return number >= 0 and f"{self.low[number]} {self._low(number + 1)}" in _DENIES

    def _denied_before(self, first: int, last: int) -> bool:
        """Whether an odd number of denials reaches the phrase from before it: "no one other than X" is X."""
        start, count, listed = self._sentence(first)[0], 0, self._is_listed(first, last)
        for number in range(first - 1, max(start, first - _REACH) - 1, -1):
            denies = self._denies(number)
            if self._breaks(number, listed, denies) or (not denies and self._begins(number, first)):
                break
            count += denies
            if denies and self.low[number] in ("neither", "nor"):
                break
        return count % 2 == 1

    def _breaks(self, number: int, listed: bool, denies: bool) -> bool:
        """Whether the punctuation behind a word ends what is said before it."""
        after = self.words[number].after
        if ")" in after or ("(" in after and not denies):
            return True
        apart = "," in after or re.fullmatch(r"\W*-+\W*", after) is not None
        return apart and (not listed or self.low[number] in ("no", "nope"))

    def _begins(self, number: int, first: int) -> bool:
        """Whether a word begins a clause of its own, which a denial before it does not reach."""
        word = self.low[number]
        if word in _IS:
            return not _OF_OPINION & set(self.low[max(0, number - 5) : number])
        if word == "and":
            return not set(self.low[number + 1 : first]) <= _BEFORE_NOUN
        return word in _NEW_CLAUSE and not self._is_pair(number - 1) and not self._is_pair(number)

    def _is_listed(self, first: int, last: int) -> bool:
        """Whether the phrase is a member of a list with "or" or "nor": there, a denial goes on behind commas."""
        if self._word_before(first) in ("or", "nor"):
            return True
        for word in self.low[last + 1 : min(last + 9, self._sentence(last)[1] + 1)]:
            if word in _NEW_CLAUSE or word in _IS:
                return False
            if word in ("or", "nor"):
                return True
        return False

    def _word_before(self, first: int) -> str:
        """The last word before a place that is no article or preposition."""
        for number in range(first - 1, -1, -1):
            if self._ends(number):
                break
            if self.low[number] not in _BEFORE_NOUN:
                return self.low[number]
        return ""

    def _denied_after(self, last: int) -> bool:
        """Whether it goes on as in "X isn't", "X is not", "X is wrong", "X (wrong)" or "X, which is not"."""
        if self._taken_back(last):
            return True
        low = [*self.low[last + 1 : self._sentence(last)[1] + 1], "", "", ""]
        if self.words[last].after:
            low = low[1:] if low[0] == "which" else [""]
        if low[0].endswith("n't") or low[0] == "cannot":
            return low[1] not in _NEW_CLAUSE
        denied = low[0] in _AUXILIARY and low[1] in ("not", "never") and low[2] not in _NEW_CLAUSE
        return denied or (low[0] in _AUXILIARY and low[1] in _FALSE)

    def _taken_back(self, last: int) -> bool:
        """Whether "no", "wrong" or "or rather" follows, by itself."""
        first, second = self._low(last + 1), self._low(last + 2)
        if (first, second) == ("or", "rather"):
            return True
        if not self.words[last].after or not first:
            return False
        alone = bool(self.words[last + 1].after) or second in ("", "wait", "actually", "sorry", *_IS)
        return first in _FALSE or (first in ("no", "nope") and alone)

    def _is_one_of_two(self, first: int, last: int) -> bool:
        start, end = self._sentence(first)[0], self._sentence(last)[1]
        follows = [*self.low[last + 1 : end + 1], "", ""]
        is_before_or = follows[0] == "or" and follows[1] not in _NOT_ANOTHER
        chosen = {"either", "whether"} & set(self.low[start:first]) and "or" in self.low[start : end + 1]
        return bool(chosen) or is_before_or or self._word_before(first) == "or"


def _without_articles(words: list[_Word]) -> list[_Word]:
    kept: list[_Word] = []
    for word in words:
        if word.text.casefold() not in _ARTICLES:
            kept.append(_Word(word.text, word.after))
        elif kept:
            kept[-1].after += word.after.replace(".", "")  # of an initial: "not A. Smith"
    return kept


def _quoted(words: list[str], question: str) -> set[int]:
    """Numbers of the words that stand in a line of the question in the same order, three in a row or all of it."""
    found: set[int] = set()
    for line in question.splitlines():
        asked = [word.text.casefold() for word in _without_articles(_words(line))]
        run = min(_QUOTED, len(asked))
        runs = {tuple(asked[start : start + run]) for start in range(len(asked) - run + 1)} if run > 1 else set()
        for start in range(len(words) - run + 1):
            if tuple(words[start : start + run]) in runs:
                found |= set(range(start, start + run))
    return found
