"""Which part of the bearing is damaged? Thirteen records with known faults, from waveforms to verdicts.

    python examples/bearing-diagnosis/run.py --data DIRECTORY_WITH_CWRU_AND_MFPT

Reads the MATLAB files as published and applies the kernels of the feature views to windows of one second: no store, no
configuration. `records.csv` says what the files do not: bearing, sample rate, nominal speed, and what is known to be
wrong with the bearing. Prints a table, or with `--json` a list of objects.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.io import loadmat

from features.define.spec import Floats
from features.kernels.bearing import FaultOrders, fault_orders, implausible
from features.kernels.diagnosis import ENVELOPE, Diagnosis
from features.kernels.spectrum import spectra
from features.kernels.verdict import NONE, Verdict, diagnose
from features.kernels.vibration import Waveforms
from historian.plant.model import Bearing

HERE = Path(__file__).parent
SECONDS: Final = 1
BEARINGS: Final = {
    "skf_6205": Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537),  # inches
    "nice": Bearing(balls=8, ball_diameter=0.235, pitch_diameter=1.245),
}


@dataclass(frozen=True)
class Record:
    """One file, with what its metadata says."""

    wave: Floats
    """[samples] acceleration in g."""
    sample_rate: float
    """Sample rate in Hz."""
    shaft: float
    """Speed of the shaft in Hz."""
    refused: list[str]
    """Why the fault frequencies stored in the file are not used."""


def main() -> None:
    """Print the known state and the verdict of every record."""
    arguments = argparse.ArgumentParser(description="Verdicts on bearing records with known faults.")
    arguments.add_argument("--data", type=Path, required=True, help="directory of the directories cwru and mfpt")
    arguments.add_argument("--json", action="store_true", help="for machines")
    given = arguments.parse_args()
    results = run(given.data)
    print(json.dumps(results, indent=2, ensure_ascii=False) if given.json else table(results))


def run(data: Path) -> list[dict[str, Any]]:
    """Return one object per record."""
    with (HERE / "records.csv").open(encoding="utf-8", newline="") as rows:
        return [diagnosis_of(data, row) for row in csv.DictReader(rows)]


def diagnosis_of(data: Path, row: dict[str, str]) -> dict[str, Any]:
    """Return the known state and the verdict of one record."""
    bearing = BEARINGS[row["bearing"]]
    record = (mfpt if row["file"].startswith("mfpt/") else cwru)(data / row["file"], row, bearing)
    found = verdict(record, bearing)
    line = found.strongest
    return {
        "file": row["file"],
        "truth": row["truth"],
        "verdict": found.fault,
        "outcome": outcome(row["truth"], found.fault),
        "line": line.fault if line else None,
        "found_hz": round(line.found, 2) if line else None,
        "expected_hz": round(line.expected, 2) if line else None,
        "snr": round(line.snr, 1) if line else None,
        "depth": round(line.depth, 2) if line else None,
        "why": found.why,
        "refused_metadata": record.refused,
    }


def cwru(path: Path, row: dict[str, str], _: Bearing) -> Record:
    """Read the drive end of a Case Western Reserve record. Files lack the rate, and some the speed."""
    file = loadmat(path)
    wave = next(value for name, value in file.items() if name.endswith("_DE_time"))
    speeds = [float(value.item()) for name, value in file.items() if name.endswith("RPM")]
    rpm = speeds[0] if speeds else float(row["nominal_rpm"])
    return Record(wave.ravel(), float(row["sample_rate"]), rpm / 60, [])


def mfpt(path: Path, row: dict[str, str], bearing: Bearing) -> Record:
    """Read an MFPT record. Its stored fault frequencies are checked against relations that hold for every bearing."""
    file = loadmat(path, squeeze_me=True)
    shaft = float(row["nominal_rpm"]) / 60
    bpfo, bpfi, bsf, ftf = (float(file[name]) / shaft for name in ("BPFO", "BPFI", "BSF", "FTF"))
    refused = implausible(FaultOrders(bpfo=bpfo, bpfi=bpfi, bsf2=2 * bsf, ftf=ftf), bearing.balls)
    inner = file["bearing"]
    return Record(inner["gs"].item().astype(np.float64), float(inner["sr"].item()), shaft, refused)


def verdict(record: Record, bearing: Bearing) -> Verdict:
    """Return the verdict on all windows of the record, with fault frequencies from the bearing's geometry."""
    size = int(record.sample_rate * SECONDS)
    windows = record.wave[: len(record.wave) // size * size].reshape(-1, size)
    shaft = np.full(len(windows), record.shaft)
    waveforms = Waveforms(windows, record.sample_rate, "g")
    batch = Diagnosis(waveforms, spectra(waveforms), shaft, bearing)
    features = {spec.name: spec.kernel(batch) for spec in ENVELOPE}
    return diagnose(features, shaft, fault_orders(bearing), record.sample_rate / size)


def outcome(truth: str, fault: str) -> str:
    """Return whether the verdict is right, missed (no fault named) or wrong."""
    if fault == NONE:
        return "right" if truth == "no fault" else "missed"
    return "right" if fault == truth else "wrong"


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a table, followed by the metadata of files that were not used."""
    head = f"{'file':32} {'truth':16} {'verdict':19} {'':7} {'found Hz':>8} {'expected':>8} {'S/N':>6} {'depth':>6}"
    form = "{file:32} {truth:16} {verdict:19} {outcome:7} {found_hz:>8} {expected_hz:>8} {snr:>6} {depth:>6}"
    refused = sorted({reason for one in results for reason in one["refused_metadata"]})
    return "\n".join(
        [head, *(form.format_map(_cells(one)) for one in results), "", *(f"Not believed: {why}" for why in refused)]
    )


def _cells(one: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers as text; `-` for a record without a line."""
    digits = {"found_hz": 2, "expected_hz": 2, "snr": 1, "depth": 2}
    return one | {name: "-" if one[name] is None else f"{one[name]:.{few}f}" for name, few in digits.items()}


if __name__ == "__main__":
    main()
