"""The pattern language of times, in columns of timestamps and in names of files. Pure and columnar.

    %Y 2026   %y 26   %m 07   %b %B Jul, July   %d 01   %j 182 (day of the year)   %a %A Wed, Wednesday (not used)
    %H 00-23   %I 01-12 with %p AM, PM   %M   %S   %f a fraction of the second, of 1 to 9 digits
    %z +02, +0200, +02:00, Z   %Z an abbreviation such as CEST or UTC   %s seconds since 1970   %% a percent sign

Each other character stands for itself. Months and days may have one digit where no other digit adjoins.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_TWO: Final = r"\d\d"
_DIRECTIVES: Final = {
    "Y": r"\d{4}", "y": _TWO, "m": _TWO, "d": _TWO, "H": _TWO, "I": _TWO, "M": _TWO, "S": _TWO, "j": r"\d{3}",
    "b": "[A-Za-z]{3}", "B": "[A-Za-z]{3,9}", "a": "[A-Za-z]{3}", "A": "[A-Za-z]{6,9}", "p": "(?i:[ap]m)",
    "f": r"\d{1,9}", "z": r"(?:[+-]\d\d(?::?\d\d)?|Z)", "Z": "[A-Za-z]{1,5}", "%": "%", "s": r"\d{1,10}",
}  # fmt: skip
"""Letter of a directive -> regular expression of its text."""
_PART: Final = re.compile(r"%:?(.)|(%$)", re.DOTALL)
_POINT: Final = "."


class Pattern(NamedTuple):
    """A pattern, checked and translated."""

    text: str
    """As the user wrote it."""
    whole: str
    """Regular expression of a text that follows the pattern."""
    kept: str
    """What to replace such a text by: the same with a point before the fraction, and without an abbreviation."""
    name_group: int
    """Group of `whole` that is the abbreviation of a time zone; 0 if there is none."""
    chrono: str
    """The format of the replaced text, for Polars."""
    letters: str
    """The directives, a letter each."""

    @property
    def is_rewritten(self) -> bool:
        """Whether a text must be replaced before Polars can read it."""
        return self.name_group > 0 or ("f" in self.letters and ".%f" not in self.text)

    @property
    def has_offset(self) -> bool:
        """Whether each text has an offset from UTC."""
        return "z" in self.letters


def compiled(text: str) -> Pattern:
    """Check and translate a pattern.

    Raises:
        ValueError: it is no pattern of a time; the message says why.
    """
    parts = _parts(text)
    letters = "".join(part[1] for part in parts if len(part) > 1 and part != "%%")
    _check(text, letters)
    pieces = [_piece(parts, place) for place in range(len(parts))]
    return Pattern(
        text,
        whole="^" + "".join(f"({piece})" for piece in pieces) + "$",
        kept="".join(_replacement(parts, place) for place in range(len(parts))),
        name_group=parts.index("%Z") + 1 if "%Z" in parts else 0,
        chrono="".join(_format(parts, place) for place in range(len(parts)))
        + (" %M" if {"H", "I"} & set(letters) and "M" not in letters else ""),
        letters=letters,
    )


def _parts(text: str) -> list[str]:
    """Return directives, as % and letter, and other characters one by one."""
    parts, position = [], 0
    while position < len(text):
        found = _PART.match(text, position)
        if found is None:
            parts.append(text[position])
        elif (letter := found.group(1)) not in _DIRECTIVES:
            known = " ".join(f"%{each}" for each in _DIRECTIVES)
            raise ValueError(f"the pattern {text!r} has {found.group()}, which is unknown; there are {known}")
        else:
            parts.append(f"%{letter}")
        position = position + 1 if found is None else found.end()
    return parts


def _check(text: str, letters: str) -> None:
    """Raise `ValueError` for a pattern that gives no date, gives something twice, or leaves something open."""
    has = set(letters)
    if not has:
        raise ValueError(f"the pattern {text!r} has no % fields; write one such as %Y-%m-%d %H:%M:%S")
    if "s" in has:
        if has != {"s"}:
            raise ValueError(f"the pattern {text!r} has %s, seconds since 1970, which go with no other field")
        return
    if twice := [letter for letter in has if letters.count(letter) > 1]:
        raise ValueError(f"the pattern {text!r} has %{twice[0]} twice")
    if not (has & set("Yy") and (has >= {"j"} or ("d" in has and has & set("mbB")))):
        raise ValueError(f"the pattern {text!r} has no date; a time needs %Y or %y, %m or %b, and %d, or %Y and %j")
    if len(has & set("Yy")) > 1 or len(has & set("HI")) > 1 or len(has & set("zZ")) > 1 or len(has & set("mbB")) > 1:
        raise ValueError(f"the pattern {text!r} says the same thing in two ways, such as %H and %I")
    if ("I" in has) != ("p" in has):
        raise ValueError(f"the pattern {text!r} needs %I and %p together; hours of 0 to 23 are %H")
    if ("M" in has and not has & set("HI")) or ("S" in has and "M" not in has) or ("f" in has and "S" not in has):
        raise ValueError(f"the pattern {text!r} has a part of the time without the one above it: %H %M %S %f")


def _piece(parts: list[str], place: int) -> str:
    """Return the regular expression of a part: of a fraction after a point, both may be absent."""
    part, after = parts[place], parts[place + 1 : place + 2]
    if len(part) == 1:
        return r"\s+" if part == " " else re.escape(part) + ("?" if part == _POINT and after == ["%f"] else "")
    expression = _DIRECTIVES[part[1]]
    if part == "%f" and parts[place - 1] == _POINT:
        return r"\d{0,9}"
    adjoins = any(len(each) > 1 or each.isdigit() for each in parts[max(0, place - 1) : place] + after)
    return r"\d{1,2}" if expression == _TWO and part != "%y" and not adjoins else expression


def _is_before_fraction(parts: list[str], place: int) -> bool:
    return parts[place + 1 : place + 2] == ["%f"] and len(parts[place]) == 1


def _replacement(parts: list[str], place: int) -> str:
    part = parts[place]
    if part == "%Z" or _is_before_fraction(parts, place):
        return ""
    return f"{_POINT if part == '%f' else ''}${{{place + 1}}}"


def _format(parts: list[str], place: int) -> str:
    part = parts[place]
    if part == "%Z" or _is_before_fraction(parts, place):
        return ""
    return {"%f": "%.f", "%z": "%#z"}.get(part, part)
