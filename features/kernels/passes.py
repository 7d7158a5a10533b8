"""Passes over windows, or over their lines, that compute several sums at once; see `features.kernels.compiled`."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.define.spec import Floats
from features.kernels.compiled import compiled

Bits = npt.NDArray[np.int64]

_SMALLEST: Final = int(np.array(np.finfo(np.float64).tiny).view(np.int64))
_SQRT_HALF: Final = int(np.array(np.sqrt(0.5)).view(np.int64))
_FRACTION: Final = 52
"""Number of bits in the fraction of a float64."""
_LN_2: Final = float(np.log(2))


@compiled
def window_sums(samples: Floats, centred: Floats, sums: Floats) -> None:
    """Fill `centred` with c = x - mean, and `sums` with the sums for the time-domain features.

    They are min x, max x, a mean and its correction, then Σc², Σc³, Σc⁴, Σ|c|, Σsqrt|c|, and the number of sign changes
    of c. The mean is the sum of two numbers, Σx/N and the mean of what remains after subtracting that: rounded to one,
    it would move every c by up to 6e-11 at an offset of 1e6. (Chan, Golub and LeVeque, "Algorithms for computing the
    sample variance", Am. Statistician 37 (1983) 242, call the sums corrected two-pass.) A constant signal has c = 0.

    Args:
        samples: [windows, N] samples x.
        centred: [windows, N] output.
        sums: [windows, 10] output.
    """
    for window in range(len(samples)):
        row, place, out = samples[window], centred[window], sums[window]
        total = 0.0
        for index in range(len(row)):
            total += row[index]
        mean, low, high, rest = total / len(row), row[0], row[0], 0.0
        for index in range(len(row)):
            x = row[index]
            low, high = (x if x < low else low), (x if x > high else high)
            place[index] = x - mean  # stored, because the compiler may subtract mean + correction in one step otherwise
            rest += place[index]
        correction = rest / len(row)
        if low == high:
            place[:], mean, correction = 0.0, low, 0.0
        second = third = fourth = magnitude = root = 0.0
        for index in range(len(row)):
            c = place[index] - correction
            place[index] = c
            square = c * c
            second += square
            third += square * c
            fourth += square * square
            magnitude += abs(c)
            root += np.sqrt(abs(c))
        changes = 0
        for index in range(1, len(row)):
            changes += (place[index] < 0) != (place[index - 1] < 0)
        out[0], out[1], out[2], out[3] = low, high, mean, correction
        out[4], out[5], out[6], out[7], out[8], out[9] = second, third, fourth, magnitude, root, changes


@compiled
def hann_power(parts: Floats, scale: float, power: Floats) -> None:
    """Fill `power` with scale·|Y_k|², Y_k = X_k/2 - (X_k-1 + X_k+1)/4: the Hann window, which has three lines.

    Args:
        parts: [windows, 2(1 + K)] real and imaginary parts of X in turn, from DC.
        scale: factor of |Y_k|².
        power: [windows, 1 + K] output; DC and line K are not filled.
    """
    for window in range(len(parts)):
        row, lines = parts[window], power[window]
        for k in range(1, len(lines) - 1):
            real = row[2 * k] / 2 - (row[2 * k - 2] + row[2 * k + 2]) / 4
            imaginary = row[2 * k + 1] / 2 - (row[2 * k - 1] + row[2 * k + 3]) / 4
            lines[k] = scale * (real * real + imaginary * imaginary)


@compiled
def line_sums(power: Floats, bits: Bits, sums: Floats) -> None:
    """Fill `sums` with Σp, Σk p, Σk²p, Σ ln p and Σ p ln p over the lines k above DC.

    Where p = 0, ln p is that of the smallest number, so that 0 ln 0 = 0.

    p is m·2^e with m between sqrt(1/2) and sqrt(2), and ln m = 2(s + s³/3 + s⁵/5 …) with s = (m - 1)/(m + 1): as
    |s| < 0.172, nine terms are exact to the last bits.

    Args:
        power: [windows, 1 + K] power p of the lines, not negative.
        bits: the same memory as integers.
        sums: [windows, 5] output.
    """
    exponent, mantissa = np.empty(power.shape[1] - 1), np.empty(power.shape[1] - 1)
    mantissa_bits = mantissa.view(np.int64)
    for window in range(len(power)):
        row, whole = power[window, 1:], bits[window, 1:]
        for k in range(len(row)):
            number = max(whole[k], _SMALLEST)
            two = (number - _SQRT_HALF) >> _FRACTION
            exponent[k] = two
            mantissa_bits[k] = number - (two << _FRACTION)
        total = first = second = plain = weighted = 0.0
        for k in range(len(row)):
            s = (mantissa[k] - 1) / (mantissa[k] + 1)
            z = s * s
            odd = 1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17)))
            odd = 1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * odd))))
            ln = exponent[k] * _LN_2 + 2 * s * odd
            p, place = row[k], k + 1.0
            total += p
            first += p * place
            second += p * place * place
            plain += ln
            weighted += p * ln
        out = sums[window]
        out[0], out[1], out[2], out[3], out[4] = total, first, second, plain, weighted


@compiled
def weighted_power(signal: Floats, weight: Floats, power: Floats) -> None:
    """Fill `power` with |z|²·weight.

    Args:
        signal: [windows, 2n] real and imaginary parts of z in turn.
        weight: [n] weight of each point.
        power: [windows, n] output.
    """
    for window in range(len(signal)):
        row, place = signal[window], power[window]
        for index in range(len(place)):
            real, imaginary = row[2 * index], row[2 * index + 1]
            place[index] = (real * real + imaginary * imaginary) * weight[index]
