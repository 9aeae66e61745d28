"""Values of LaTeX expressions: enough of the notation to tell whether two answers are the same number or formula."""

from __future__ import annotations

import cmath
import math
import random
import re
from collections.abc import Callable

MAX_LENGTH = 300
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_PRODUCTS = {"cdot", "times", "ast"}
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "ln": cmath.log,
    "log": cmath.log10,
    "exp": cmath.exp,
}


class ExpressionError(Exception):
    """The text is not in the notation that is read here."""


def value(text: str, trial: int = 0) -> complex:
    """Value of an expression, its variables at numbers that the trial chooses.

    Read are numbers, one-letter and Greek variables, + - * / ^ and products without a sign, brackets, \\frac, \\sqrt,
    \\pi, i, e, factorials, the functions of trigonometry and logarithms, and mixed numbers such as 1\\frac{4}{5}.

    Args:
        text: LaTeX without spacing commands.
        trial: Variables take other values in each trial.

    Raises:
        ExpressionError: It is something else, too long, or has no finite value.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    reader = _Reader(text, trial)
    try:
        result = reader.sum()
    except (ArithmeticError, ValueError, RecursionError) as error:
        raise ExpressionError(str(error)) from None
    if reader.rest():
        raise ExpressionError(f"cannot read {reader.rest()!r}")
    return result


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str, trial: int) -> None:
        self.text, self.at, self.trial = text, 0, trial

    def rest(self) -> str:
        """What is left, leading space removed."""
        return self.text[self.at :].lstrip()

    def take(self, *signs: str) -> str:
        """The sign that comes next, consumed; empty where it is none of these."""
        rest = self.rest()
        found = next((sign for sign in signs if rest.startswith(sign)), "")
        if found:
            self.at = len(self.text) - len(rest) + len(found)
        return found

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise ExpressionError(f"{sign!r} expected at {self.rest()!r}")

    def command(self) -> str:
        """Name of the command that comes next, without consuming it; empty where none does."""
        found = _COMMAND.match(self.rest())
        return found.group(1) if found else ""

    def take_command(self) -> str:
        name = self.command()
        self.take(f"\\{name}")
        return name

    def sum(self) -> complex:
        result = self.product()
        while sign := self.take("+", "-"):
            result += self.product() if sign == "+" else -self.product()
        return result

    def product(self) -> complex:
        result = self.factor()
        while True:
            rest = self.rest()
            if self.take("/"):
                result /= self.factor()
            elif self.take("*") or (self.command() in _PRODUCTS and self.take_command()):
                result *= self.factor()
            elif self.command() == "div":
                self.take_command()
                result /= self.factor()
            elif rest and (rest[0].isalnum() or rest[0] in "\\({[."):
                result *= self.power()
            else:
                return result

    def factor(self) -> complex:
        if self.take("-"):
            return -self.factor()
        return self.factor() if self.take("+") else self.power()

    def power(self) -> complex:
        base = self.atom()
        while self.take("!"):
            base = complex(math.factorial(_small_integer(base)))
        return base ** self.argument() if self.take("^") else base

    def atom(self) -> complex:
        for opening, closing in (("(", ")"), ("[", "]"), ("{", "}")):
            if self.take(opening):
                inside = self.sum()
                self.need(closing)
                return inside
        if number := _NUMBER.match(self.rest()):
            self.take(number.group())
            return self.mixed(float(number.group())) if number.group().isdigit() else complex(float(number.group()))
        if self.command():
            return self.applied(self.take_command())
        letter = self.rest()[:1]
        if not (letter.isascii() and letter.isalpha()):
            raise ExpressionError(f"cannot read {self.rest()!r}")
        self.take(letter)
        return {"i": 1j, "e": complex(math.e)}.get(letter) or self.variable(letter)

    def mixed(self, whole: float) -> complex:
        """A whole number, and the fraction that follows it at once: 1\\frac{4}{5} is 1.8."""
        return whole + self.applied(self.take_command()) if self.command() == "frac" else complex(whole)

    def applied(self, command: str) -> complex:
        if command == "frac":
            return self.argument() / self.argument()
        if command == "sqrt":
            root: complex = 2
            if self.take("["):
                root = self.sum()
                self.need("]")
            return self.argument() ** (1 / root)
        if command == "pi":
            return complex(math.pi)
        if command in _FUNCTIONS:
            exponent = self.argument() if self.take("^") else 1
            return _FUNCTIONS[command](self.power()) ** exponent
        if command in _GREEK:
            return self.variable(command)
        raise ExpressionError(f"\\{command} is not known")

    def argument(self) -> complex:
        """What a command or an exponent applies to: a group, a command, or one character (\\frac43 is 4/3)."""
        if self.take("{"):
            inside = self.sum()
            self.need("}")
            return inside
        if self.command():
            return self.applied(self.take_command())
        character = self.rest()[:1]
        self.take(character)
        return value(character, self.trial)

    def variable(self, name: str) -> complex:
        """The same number for a name wherever it stands; positive, so that roots of squares are what they look like."""
        return complex(random.Random(f"{name}/{self.trial}").uniform(0.5, 2.5))


_GREEK = {"alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "rho", "sigma", "tau", "phi", "omega"}


def _small_integer(number: complex) -> int:
    whole = round(number.real)
    if number != whole or not 0 <= whole <= 100:
        raise ExpressionError(f"factorial of {number}")
    return whole
