"""WAV files: every kind of sample, the rate in the header, and what is damaged."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from historian.waveforms.encoding import decode
from tests.bridge.drivers.files.exports import archive_of, batch_of, plant_of, read_all

OPTIONS = "path = '*.wav'\nlayout = 'waveform'\nstart_pattern = '%Y%m%d_%H%M%S'\ntimezone = 'Europe/Berlin'"
START = datetime(2026, 3, 1, 11, tzinfo=UTC)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID = bytes.fromhex("000000001000800000aa00389b71")


def wav(form: int, data: bytes, *, bits: int, rate: int = 1000, channels: int = 2, extensible: bool = False) -> bytes:
    """A WAV file with a chunk of notes, as recorders write it."""
    size = channels * bits // 8
    head = struct.pack("<HIIHH", channels, rate, rate * size, size, bits)
    extension = struct.pack("<HHIH", 22, bits, 0, form) + GUID
    head = struct.pack("<H", EXTENSIBLE) + head + extension if extensible else struct.pack("<H", form) + head
    chunks = [(b"fmt ", head), (b"bext", b"ab"), (b"data", data)]
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(content)) + content for name, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bytes24(*values: int) -> bytes:
    """Integers of three bytes."""
    return b"".join(struct.pack("<i", value)[:3] for value in values)


@pytest.mark.parametrize(
    ("content", "second"),
    [
        (wav(PCM, bytes([128, 0, 255, 1]), bits=8), [-128, -127]),
        (wav(PCM, np.array([1, -2, 3, -32768], "<i2").tobytes(), bits=16), [-2, -32768]),
        (wav(PCM, bytes24(1, -2, 3, -8388608), bits=24), [-2, -8388608]),
        (wav(PCM, bytes24(1, -2, 3, -8388608), bits=24, extensible=True), [-2, -8388608]),
        (wav(PCM, np.array([1, -2, 3, -256], "<i4").tobytes(), bits=32), [-2, -256]),
        (wav(FLOAT, np.array([0, -0.5, 0, 0.25], "<f4").tobytes(), bits=32), [-0.5, 0.25]),
        (wav(FLOAT, np.array([0, -0.5, 0, 0.1], "<f8").tobytes(), bits=64, extensible=True), [-0.5, 0.1]),
    ],
    ids=["int8", "int16", "int24", "int24x", "int32", "float32", "float64x"],
)
def test_samples_of_every_kind_are_read_as_they_are(tmp_path: Path, content: bytes, second: list[float]) -> None:
    """A channel is a tag, integers are counts, and the file's name is the local time of the first sample."""
    plant = plant_of(tmp_path, {"2": 1000.4}, OPTIONS)
    (tmp_path / "20260301_120000.wav").write_bytes(content)

    pages, failures = read_all(archive_of(plant))

    assert failures == []
    [page] = pages
    assert page.rows.waveforms.select("tag", "timestamp", "sample_rate").rows() == [("2", START, 1000.4)]
    assert decode(page.rows.waveforms).values.tolist() == second


def test_a_contradicting_rate_is_reported_and_the_other_tags_are_read(tmp_path: Path) -> None:
    """The message names both rates."""
    plant = plant_of(tmp_path, {"1": 1000, "2": 2000}, OPTIONS)
    (tmp_path / "20260301_120000.wav").write_bytes(wav(PCM, np.array([1, 2, 3, 4], "<i2").tobytes(), bits=16))

    pages, failures = read_all(archive_of(plant))

    assert batch_of(pages).select("tag", "timestamp", "value").rows() == [
        ("1", START, 1.0),
        ("1", START + timedelta(milliseconds=1), 3.0),
    ]
    assert failures == [
        "20260301_120000.wav: 2: the file states a sample rate of 1000 Hz, plant.toml 2000 Hz; correct sample_rate, "
        "or the address if these are samples of another sensor"
    ]


def test_damaged_files_are_named_and_the_others_read(tmp_path: Path) -> None:
    """A truncated file, and one that is none; the others are read, also if one has fewer channels."""
    plant = plant_of(tmp_path, {"3": 1000}, OPTIONS)
    three = wav(PCM, np.array([1, 2, 3], "<i2").tobytes(), bits=16, channels=3)
    two = wav(PCM, np.array([1, 2], "<i2").tobytes(), bits=16)
    for second, content in enumerate([three[:-2], b"RIFF", two, three]):
        (tmp_path / f"20260301_12000{second}.wav").write_bytes(content)

    pages, failures = read_all(archive_of(plant))

    assert batch_of(pages)["value"].to_list() == [3.0]
    assert failures[0] == "20260301_120000.wav: it is truncated: its header announces more samples than it holds"
    assert failures[1].startswith("20260301_120001.wav: cannot be read: ")
    assert len(failures) == 2  # that a file lacks a channel that another one has is no problem
