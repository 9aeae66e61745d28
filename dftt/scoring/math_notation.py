"""One notation for mathematical answers that can be written in several ways, all numbers exact."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\[!,;: ]|\\q?quad\b|~|\$|\\(?:left|right|displaystyle|bigl?|bigr?)(?![a-zA-Z])")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)
_THOUSANDS = re.compile(r"^(-?\d{1,3}(?:,\d{3})+|-?\d{1,3}(?: \d{3})+)(?=(?:\.\d+)?(?: [a-z]|$))", re.IGNORECASE)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALED = re.compile(rf"(?<![\d.])(\d+(?:\.\d+)?)\s*({'|'.join(_SCALES)})\b", re.IGNORECASE)
_REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)\\(?:overline|bar)\s*\{?(\d+)\}?")
_DECIMAL = re.compile(r"(?<![\d.^_])(\d*\.\d+)(?![\d.])")
_MIXED = re.compile(r"(?<![\d.^_}])(\d+)(?:\s+(\d+)/(\d+)(?!\d)|\s*\\frac\s*(?:\{(\d+)\}|(\d))\s*(?:\{(\d+)\}|(\d)))")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?")
_ANGLE_OF = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)\b")
_EMPTY = re.compile(r"\\varnothing|\\\{\s*\\\}|∅")
_SYMBOLS = {"∞": "\\infty ", "∪": "\\cup ", "−": "-", "°": "^\\circ ", "≤": "\\le ", "≥": "\\ge "}  # noqa: RUF001
_POWER = r"\s*(?:\^\s*\{?\d\}?)?$"
_TEXT_AFTER_NUMBER = re.compile(rf"(?<=[\d}})])\s*\\(?:text|mbox|mathrm)\s*\{{\s*([^{{}}]*)\}}{_POWER}")
_WORDS_AFTER_NUMBER = re.compile(rf"(?<=[\d}})])\s+([a-z]{{2,}}(?:[ .]+[a-z]{{2,}})*)\.?{_POWER}", re.IGNORECASE)
# Words that change the number before them; any other word after a number is its unit.
_NO_UNIT = set(_SCALES) | {
    *("hundreds", "thousands", "millions", "billions", "trillions", "dozen", "dozens", "score"),
    *("half", "halves", "third", "thirds", "quarter", "quarters", "fifths", "tenths", "hundredths", "thousandths"),
    *("squared", "cubed", "factorial", "base", "mod", "modulo", "times", "over", "plus", "minus", "divided"),
    *("or", "and", "not"),
}
# Names of a measure, the short one first; an "s" at the end may be left out.
_MEASURES = """mm millimeter millimetre, cm centimeter centimetre, m meter metre, km kilometer kilometre, in inch inche,
ft foot feet, yd yard, mi mile, g gram, kg kilogram, lb pound, oz ounce, s sec second, min minute, h hr hour, day, week,
year, cent, dollar, degree, radian, mph, kmph"""
_MEASURE_OF = {name: names.split()[0] for names in _MEASURES.split(",") for name in names.split()}


def split_unit(text: str) -> tuple[str, str]:
    """An answer in one notation without its unit, and the unit's short name, empty where it is no known measure.

    Decimals, mixed numbers, thousands separators and scales (5 million) become exact numbers; dollars, percent signs,
    degrees, spacing and what only styles is dropped.
    """
    text = _plain(text)
    scaled = _SCALED.sub(_scaled, _joined(text))
    for pattern, written in ((_TEXT_AFTER_NUMBER, text), (_WORDS_AFTER_NUMBER, scaled)):
        if found := pattern.search(written):
            words = re.findall(r"[a-z]+", found[1].casefold()) or [""]
            if not _NO_UNIT & set(words):
                unit = _MEASURE_OF.get(words[-1]) or _MEASURE_OF.get(words[-1].removesuffix("s"), "")
                return _exact(_joined(written[: found.start()])), unit
    return _exact(scaled), ""


def _plain(text: str) -> str:
    for symbol, plain in _SYMBOLS.items():
        text = text.replace(symbol, plain)
    while box := _BOX.fullmatch(text.strip()):
        text = box[1]
    text = text.replace("\\$", "").replace("\\%", "").replace("%", "").replace("{,}", ",")
    text = text.replace("\\\\", ";")  # the end of a matrix row, before a spacing command is seen in it
    text = re.sub(r",\s*\\!\s*", ",\\\\!", text)  # the thousands separator of MATH
    text = re.sub(r"(?<=\d),\\!(?=\d{3})", "", text)
    text = re.sub(r"(?<=\d)\s*percent\b", "", text)
    text = re.sub(r"\\[dt](frac|binom)", r"\\\1", _SPACING.sub(" ", text))
    text = _DEGREES.sub(r"\\frac{\1\\pi}{180}" if _ANGLE_OF.search(text) else r"\1", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree", "", text)
    text = _EMPTY.sub(r"\\emptyset ", text).replace("+\\infty", "\\infty")
    return re.sub(r"_\{(\w+)\}", r"_\1", text).strip().rstrip(".")


def _joined(text: str) -> str:
    """The text with style removed and without separators in the number that it begins with."""
    text = re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", text)).strip()
    return _THOUSANDS.sub(lambda found: re.sub("[, ]", "", found[1]), text)


def _scaled(found: re.Match[str]) -> str:
    return str(int(Decimal(found[1]) * 10 ** _SCALES[found[2].lower()]))


def _exact(text: str) -> str:
    """Every decimal, repeating decimal and mixed number as a fraction of whole numbers."""
    text = _REPEATING.sub(_of_repeating, text.strip())
    text = _MIXED.sub(_of_mixed, text)
    return _DECIMAL.sub(lambda found: _fraction(Fraction(found[1])), text)


def _of_repeating(found: re.Match[str]) -> str:
    whole, once, repeated = found[1] or "0", found[2], found[3]
    nines = 10 ** len(once) * (10 ** len(repeated) - 1)
    return _fraction(Fraction(int(whole + once + repeated) - int(whole + once), nines))


def _of_mixed(found: re.Match[str]) -> str:
    whole, above, below = (int(part) for part in found.groups() if part is not None)
    return _fraction(whole + Fraction(above, below)) if below else found[0]


def _fraction(value: Fraction) -> str:
    whole = value.denominator == 1
    return str(value.numerator) if whole else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
