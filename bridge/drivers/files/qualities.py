"""The vocabularies of quality that historians use, each translated to OPC UA StatusCodes. Pure and columnar.

A vocabulary is declared, never guessed: 0 is Good in OPC UA and Bad in OPC DA. What cannot be of the declared kind has
no StatusCode, and its row goes to quarantine.

    opc-ua      StatusCodes, decimal (signed too) or hexadecimal, and their names (OPC 10000-4, 7.39)
    opc-da      quality words: 192 is Good, 64 Uncertain, 0 Bad, with substatus; the high byte is the vendor's
                (OPC Data Access 3.0, 6.8), and the names servers give them, such as Bad - Comm Failure
    ignition    dataintegrity: words of OPC DA, codes from 256 of bad ones, names such as Bad_NotConnected
    pi          Good, Questionable, Bad; True and False of a column of that kind; 0 and states of the system below it
    proficy     percent good: 100 is Good, 0 Bad, what lies between Uncertain; names of OPC DA
    map         the texts of `map`, and no other
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from bridge.drivers.files.vocabulary import CODES, Quality
from historian.quality import (
    BAD,
    BAD_COMMUNICATION_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_NO_DATA,
    BAD_NOT_CONNECTED,
    BAD_SENSOR_FAILURE,
    GOOD,
    UNCERTAIN,
    UNCERTAIN_ENGINEERING_UNITS_EXCEEDED,
)

_RESERVED_BITS: Final = 0x3000
_INFO_BITS: Final = 0x3FF
_INFO_TYPES: Final = 0xC00
_INFO_OF_VALUES: Final = 0x400
_CERTAIN_FROM: Final = 0x40000000
"""Smallest number that can only be a StatusCode; words of OPC DA and percentages are far below."""
_SUBSTATUS: Final = 0xFC
_DA: Final[Mapping[int, int]] = {
    0: BAD, 4: BAD, 8: BAD_NOT_CONNECTED, 12: BAD_DEVICE_FAILURE, 16: BAD_SENSOR_FAILURE,
    20: BAD_COMMUNICATION_ERROR, 24: BAD_COMMUNICATION_ERROR, 28: BAD_NOT_CONNECTED, 32: BAD_NO_DATA,
    64: UNCERTAIN, 68: UNCERTAIN, 80: UNCERTAIN, 84: UNCERTAIN_ENGINEERING_UNITS_EXCEEDED, 88: UNCERTAIN,
    192: GOOD, 216: GOOD,
}  # fmt: skip
"""Status and substatus of OPC DA, without limit bits -> StatusCode."""
_DA_WORDS: Final[Mapping[str, int]] = {
    "good": GOOD, "goodnonspecific": GOOD, "goodlocaloverride": GOOD,
    "uncertain": UNCERTAIN, "uncertainnonspecific": UNCERTAIN, "uncertainlastusable": UNCERTAIN,
    "uncertainlastusablevalue": UNCERTAIN, "uncertainsensornotaccurate": UNCERTAIN,
    "uncertainsensornotaccurat": UNCERTAIN, "uncertainsubnormal": UNCERTAIN,
    "uncertaineuexceeded": UNCERTAIN_ENGINEERING_UNITS_EXCEEDED,
    "uncertainengineeringunitsexceeded": UNCERTAIN_ENGINEERING_UNITS_EXCEEDED,
    "bad": BAD, "badnonspecific": BAD, "badconfigurationerror": BAD, "badconfigerror": BAD,
    "badnotconnected": BAD_NOT_CONNECTED, "baddevicefailure": BAD_DEVICE_FAILURE,
    "badsensorfailure": BAD_SENSOR_FAILURE, "badlastknown": BAD_COMMUNICATION_ERROR,
    "badlastknownvalue": BAD_COMMUNICATION_ERROR, "badcommfailure": BAD_COMMUNICATION_ERROR,
    "badcommunicationfailure": BAD_COMMUNICATION_ERROR, "badoutofservice": BAD_NOT_CONNECTED,
    "badwaitingforinitialdata": BAD_NO_DATA,
}  # fmt: skip
"""Names of OPC DA, letters only -> StatusCode."""
_PI_WORDS: Final[Mapping[str, int]] = {
    "good": GOOD, "true": GOOD, "questionable": UNCERTAIN, "bad": BAD, "false": BAD,
}  # fmt: skip


def graded(quality: Quality | None, column: str) -> pl.Expr:
    """Return a column of texts as StatusCodes, null where it is unknown what one means; Good without a vocabulary."""
    if quality is None:
        return pl.lit(GOOD, pl.UInt32)
    text = pl.col(column).str.strip_chars()
    if quality.kind == "map":
        codes = {word: CODES[name.lower()] for word, name in quality.map.items()}
        return text.fill_null("").replace_strict(codes, default=None, return_dtype=pl.UInt32)
    word = text.str.to_lowercase()
    plain = word.str.strip_suffix(".0")
    prefixed = plain.str.starts_with("0x")
    number = (
        pl.when(prefixed)
        .then(plain.str.strip_prefix("0x").str.to_integer(base=16, strict=False, dtype=pl.Int64))
        .otherwise(plain.cast(pl.Int64, strict=False))
    )
    return _KINDS[quality.kind](word, number).cast(pl.UInt32)


def unknown_quality(quality: Quality | None) -> str:
    """Return the reason for a row whose quality means nothing in the vocabulary."""
    kind = quality.kind if quality else "names"
    if kind == "names":
        return (
            "the quality is no name of a StatusCode, such as Good, nor a number that can only be one; declare "
            'quality = { column, kind = "opc-da" } or another kind'
        )
    return f"the quality is not one of kind {kind}; see quality in the manual of the files driver"


def _names(word: pl.Expr, number: pl.Expr) -> pl.Expr:
    certain = pl.when(number >= _CERTAIN_FROM).then(_status_code(number))
    return word.replace_strict(CODES, default=None, return_dtype=pl.UInt32).fill_null(certain)


def _opc_ua(word: pl.Expr, number: pl.Expr) -> pl.Expr:
    unsigned = pl.when(number < 0).then(number + 2**32).otherwise(number)
    return word.replace_strict(CODES, default=None, return_dtype=pl.UInt32).fill_null(_status_code(unsigned))


def _status_code(number: pl.Expr) -> pl.Expr:
    """Return numbers that can be StatusCodes: severity 3 and some bits are reserved, and info bits need their type."""
    severe = number.is_between(0, 0xBFFFFFFF)
    info_type = number & _INFO_TYPES
    typed = ((info_type == 0) & ((number & _INFO_BITS) == 0)) | (info_type == _INFO_OF_VALUES)
    return pl.when(severe & ((number & _RESERVED_BITS) == 0) & typed).then(number).cast(pl.UInt32)


def _opc_da(word: pl.Expr, number: pl.Expr) -> pl.Expr:
    status = pl.when(number.is_between(0, 0xFFFF)).then(number & _SUBSTATUS)
    codes = status.replace_strict(_DA, default=None, return_dtype=pl.UInt32)
    return _letters(word).replace_strict(_DA_WORDS, default=None, return_dtype=pl.UInt32).fill_null(codes)


def _ignition(word: pl.Expr, number: pl.Expr) -> pl.Expr:
    severity = pl.when(number < 0).then(number + 2**32).otherwise(number)
    extended = (
        pl.when(severity.is_between(256, 0xFFFF))
        .then(BAD)
        .when(severity.is_between(0x40000000, 0x7FFFFFFF))
        .then(UNCERTAIN)
        .when(severity.is_between(0x80000000, 0xFFFFFFFF))
        .then(BAD)
    )
    level = word.str.extract("^(good|uncertain|bad|error)(?:_[a-z]+)?$")
    named = level.replace_strict(
        {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD, "error": BAD}, default=None, return_dtype=pl.UInt32
    )
    status = pl.when(number.is_between(0, 255)).then(number)
    return _opc_da(word, status).fill_null(named).fill_null(extended)


def _pi(word: pl.Expr, number: pl.Expr) -> pl.Expr:
    system = pl.when(number == 0).then(GOOD).when(number.is_between(-1000, -1)).then(BAD)
    return word.replace_strict(_PI_WORDS, default=None, return_dtype=pl.UInt32).fill_null(system)


def _proficy(word: pl.Expr, number: pl.Expr) -> pl.Expr:
    share = (
        word.str.strip_suffix("%").str.strip_chars().cast(pl.Float64, strict=False).fill_null(number.cast(pl.Float64))
    )
    percent = pl.when(share == 100).then(GOOD).when(share == 0).then(BAD).when(share.is_between(0, 100)).then(UNCERTAIN)
    return _letters(word).replace_strict(_DA_WORDS, default=None, return_dtype=pl.UInt32).fill_null(percent)


def _letters(word: pl.Expr) -> pl.Expr:
    return word.str.replace_all("[^a-z]", "")


_KINDS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "names": _names,
    "opc-ua": _opc_ua,
    "opc-da": _opc_da,
    "ignition": _ignition,
    "pi": _pi,
    "proficy": _proficy,
}
