"""Which encoding a stretch gets: the smallest that reproduces every bit of it, minus zero and NaN included."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.waveforms.batch import ITEM_BYTES, MAX_BYTES
from historian.waveforms.scales import Scale, int16_scale
from historian.waveforms.timing import Floats, Integers, row_blocks, runs_of

ENCODINGS: Final = tuple(ITEM_BYTES)
INT16, INT16Z, FLOAT32, FLOAT64 = range(4)
LONGEST: Final = MAX_BYTES // min(ITEM_BYTES.values())
"""Samples for which one encoding is chosen."""
_MINUS_ZERO: Final = np.iinfo(np.int16).min
"""The count that stands for minus zero in `int16z`; text files are full of `-0.000`."""

Array = npt.NDArray[Any]


class Choice(NamedTuple):
    """How each stretch is stored."""

    encoding: Integers
    """[rows] index into `ENCODINGS`."""
    scale: Floats
    """[rows]"""
    divisor: Floats
    """[rows]"""
    stored: dict[int, Array]
    """Encoding -> [samples]; valid where a row has that encoding."""


def chosen(tags: pl.Series, counts: Integers, values: Array, scale: float, divisor: float) -> Choice:
    """Choose the encoding of stretches.

    Args:
        tags: [rows] of the stretches; a scale is looked for in the values of a tag.
        counts: [rows] samples of each.
        values: [samples] of all, one after the other.
        scale: of int16 values.
        divisor: of int16 values.
    """
    same = np.ones(len(counts))
    if values.dtype == np.int16:
        return Choice(np.full(len(counts), INT16), same * scale, same * divisor, {INT16: values})
    if values.dtype != np.float32:
        values = values.astype(np.float64, copy=False)
    choice = Choice(np.full(len(counts), FLOAT64), same, same.copy(), {FLOAT64: values})
    _choose_int16(choice, tags, counts, values)
    if values.dtype == np.float32:
        choice.stored[FLOAT32] = values
        choice.encoding[choice.encoding == FLOAT64] = FLOAT32
    else:
        _choose_float32(choice, counts, values)
    return choice


def _choose_int16(choice: Choice, tags: pl.Series, counts: Integers, values: Array) -> None:
    """Set int16 where counts reproduce every bit."""
    offsets = np.concatenate(([0], np.cumsum(counts)))
    for first, last in runs_of(tags):
        mine = values[offsets[first] : offsets[last]]
        if (found := int16_scale(mine)) is None:
            continue
        if INT16 not in choice.stored:
            choice.stored[INT16] = choice.stored[INT16Z] = np.empty(len(values), np.int16)
        into = choice.stored[INT16][offsets[first] : offsets[last]]
        encoding = _counted(mine, counts[first:last], found, into)
        choice.encoding[first:last] = encoding
        choice.scale[first:last] = np.where(encoding == FLOAT64, 1.0, found.scale)
        choice.divisor[first:last] = np.where(encoding == FLOAT64, 1.0, found.divisor)


def _counted(values: Array, counts: Integers, scale: Scale, into: npt.NDArray[np.int16]) -> Integers:
    """Write the counts of one tag's values to `into`, and return [rows] the encoding in which they are exact."""
    encoding, offsets = np.full(len(counts), FLOAT64), np.concatenate(([0], np.cumsum(counts)))
    for first, last in row_blocks(counts):
        place = slice(offsets[first], offsets[last])
        block, heads = values[place].astype(np.float64), offsets[first:last] - offsets[first]
        with np.errstate(invalid="ignore", over="ignore"):
            whole = np.rint(block * scale.divisor / scale.scale)
            same = (
                (whole * scale.scale / scale.divisor == block)
                & (np.abs(whole) <= -_MINUS_ZERO)
                & (whole < -_MINUS_ZERO)
            )
            into[place] = whole
        minus_zero = (block == 0) & np.signbit(block)
        exact = np.logical_and.reduceat(same, heads)
        if minus_zero.any():
            into[place][minus_zero] = _MINUS_ZERO
            signed = np.logical_or.reduceat(minus_zero, heads)
            exact &= ~signed | np.logical_and.reduceat(whole != _MINUS_ZERO, heads)
            encoding[first:last] = np.where(signed, INT16Z, INT16)
        else:
            encoding[first:last] = INT16
        encoding[first:last][~exact] = FLOAT64
    return encoding


def _choose_float32(choice: Choice, counts: Integers, values: Floats) -> None:
    """Set float32 where it reproduces every bit of what is still float64."""
    if (choice.encoding != FLOAT64).all():
        return
    offsets, singles = np.concatenate(([0], np.cumsum(counts))), np.empty(len(values), np.float32)
    for first, last in row_blocks(counts):
        place = slice(offsets[first], offsets[last])
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            singles[place] = values[place]
            same = singles[place].astype(np.float64).view(np.int64) == values[place].view(np.int64)
        exact = np.logical_and.reduceat(same, offsets[first:last] - offsets[first])
        choice.encoding[first:last][exact & (choice.encoding[first:last] == FLOAT64)] = FLOAT32
    choice.stored[FLOAT32] = singles
