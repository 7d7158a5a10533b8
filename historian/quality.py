"""Quality: the raw OPC UA StatusCode of a sample, UInt32. 0 is Good; the top two bits are the severity.

Codes and names are those of OPC UA Part 4, table 177 and Part 6, annex A. Drivers of other systems translate qualities
to them. Only codes that Penstock assigns, or often shows, are named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # checking a plant file needs the names alone
    import polars as pl

GOOD: Final = 0x00000000
UNCERTAIN: Final = 0x40000000
UNCERTAIN_ENGINEERING_UNITS_EXCEEDED: Final = 0x40940000
UNCERTAIN_CONFIGURATION_ERROR: Final = 0x420F0000
"""Of a waveform: its timestamps do not fit the configured sample rate, so its samples may not be those in between."""
BAD: Final = 0x80000000
BAD_COMMUNICATION_ERROR: Final = 0x80050000
BAD_DECODING_ERROR: Final = 0x80070000
BAD_TIMEOUT: Final = 0x800A0000
BAD_NODE_ID_UNKNOWN: Final = 0x80340000
BAD_OUT_OF_RANGE: Final = 0x803C0000
BAD_NOT_CONNECTED: Final = 0x808A0000
BAD_DEVICE_FAILURE: Final = 0x808B0000
BAD_SENSOR_FAILURE: Final = 0x808C0000
BAD_NO_DATA: Final = 0x809B0000

OVERFLOW: Final = 0x480
"""Info bits: type DataValue with Overflow set (OPC UA Part 4, 7.39.2); the server's queue dropped values before it."""

NAMES: Final = {
    GOOD: "Good",
    UNCERTAIN: "Uncertain",
    UNCERTAIN_ENGINEERING_UNITS_EXCEEDED: "UncertainEngineeringUnitsExceeded",
    UNCERTAIN_CONFIGURATION_ERROR: "UncertainConfigurationError",
    BAD: "Bad",
    BAD_COMMUNICATION_ERROR: "BadCommunicationError",
    BAD_DECODING_ERROR: "BadDecodingError",
    BAD_TIMEOUT: "BadTimeout",
    BAD_NODE_ID_UNKNOWN: "BadNodeIdUnknown",
    BAD_OUT_OF_RANGE: "BadOutOfRange",
    BAD_NOT_CONNECTED: "BadNotConnected",
    BAD_DEVICE_FAILURE: "BadDeviceFailure",
    BAD_SENSOR_FAILURE: "BadSensorFailure",
    BAD_NO_DATA: "BadNoData",
}


def is_good(quality: pl.Expr) -> pl.Expr:
    """Return an expression that is true where the severity is Good; info bits in the low half do not matter."""
    return quality < UNCERTAIN


def is_measured(quality: pl.Expr) -> pl.Expr:
    """Return an expression that is true for a Good waveform, and for one that is Good but exceeds its range.

    How many samples exceed it shows in the feature `clipped`. To leave out the whole waveform would lose the shocks.
    """
    return is_good(quality) | ((quality & 0xFFFF0000) == UNCERTAIN_ENGINEERING_UNITS_EXCEEDED)


def is_untimed(quality: pl.Expr) -> pl.Expr:
    """Return an expression that is true for a waveform whose timestamps do not fit the configured sample rate."""
    return (quality & 0xFFFF0000) == UNCERTAIN_CONFIGURATION_ERROR


def is_bad(quality: pl.Expr) -> pl.Expr:
    """Return an expression that is true where the severity is Bad, so that the value must not be used."""
    return quality >= BAD


def quality_name(code: int) -> str:
    """Return the name of a code, such as `BadTimeout`, or severity and number, such as `Bad (0x80AB0000)`."""
    if code in NAMES:
        return NAMES[code]
    severity = "Bad" if code >= BAD else "Uncertain" if code >= UNCERTAIN else "Good"
    return f"{severity} (0x{code:08X})"
