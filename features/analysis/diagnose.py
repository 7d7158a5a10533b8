"""`penstock diagnose`: the newest waveforms of an asset's points -> what an analyst would say of each.

Up to ten windows of a second, or whole bursts if they are shorter, vote on the state of the bearing; speed and bearing
are those that features would use. Level and zone are the medians of these windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from features.analysis.findings import Circumstances, Finding, finding_of
from features.define.catalogue import GROUPS
from features.define.spec import Floats
from features.kernels.diagnosis import Diagnosis
from features.kernels.spectrum import spectra
from features.kernels.verdict import FAULTS, NONE, NOTHING, Verdict, diagnose
from features.kernels.vibration import Waveforms
from features.plots.marks import Turning, turning
from features.plots.snapshots import Snapshot, recent_snapshots
from historian.errors import InvalidInput, near_misses
from historian.plant.connections import Tag
from historian.plant.plant import Plant
from historian.stores.protocols import Reader

WINDOWS: Final = 10
SECOND: Final = timedelta(seconds=1)
_LEVELS: Final = ("rms_ac", "peak", "crest", "kurtosis", "vel_rms_10_1000")


@dataclass(frozen=True)
class PointDiagnosis:
    """What is said of one vibration point."""

    point: str
    tag: str
    unit: str
    """Of the tag's values."""
    windows: int
    seconds: float
    """Length of a window."""
    first: datetime | None
    """Where the first window begins; None without windows."""
    last: datetime | None
    """Where the last window ends."""
    rpm: float | None
    finding: Finding
    levels: dict[str, float]
    """Medians over the windows, by the name of the feature."""
    zone: str | None
    """The zone of the velocity RMS and the source of its limits; None if the point has none, or it is undefined."""
    envelope: Floats
    """[lines] the mean squared-envelope spectrum, for a picture."""
    known: Turning | None
    """Speed and bearing in the last window."""

    @property
    def record(self) -> dict[str, Any]:
        """Everything but the spectrum, as it is printed for machines."""
        keys = ("point", "tag", "unit", "windows", "seconds", "first", "last", "rpm", "levels", "zone")
        return {**{key: getattr(self, key) for key in keys}, **asdict(self.finding)}


def diagnose_asset(
    plant: Plant, store: Reader, asset: str, before: datetime, *, points: Iterable[str] = ()
) -> list[PointDiagnosis]:
    """Return what an analyst would say of the vibration points of an asset.

    Args:
        plant: the plant.
        store: where the samples are.
        asset: name of the asset.
        before: only samples before this instant.
        points: only these points; all vibration points that a tag fills if empty.

    Raises:
        InvalidInput: the asset or a point is unknown, or no vibration point has a tag.
    """
    if asset not in plant.assets:
        raise InvalidInput(f"there is no asset {asset!r}{near_misses(asset, plant.assets)}")
    own = {tag.point: tag for tag in plant.tags.values() if tag.asset == asset and tag.kind == "vibration"}
    if unknown := [point for point in points if point not in own]:
        raise InvalidInput(f"{asset} has no vibration point {unknown[0]!r} with a tag{near_misses(unknown[0], own)}")
    if not own:
        raise InvalidInput(f"no tag fills a vibration point of {asset}; a diagnosis needs a waveform")
    return [_diagnosed(plant, store, own[point], before) for point in (points or sorted(own))]


def _diagnosed(plant: Plant, store: Reader, tag: Tag, before: datetime) -> PointDiagnosis:
    found = recent_snapshots(store, tag, before, longest=SECOND, most=WINDOWS)
    if not found:
        finding = finding_of(Verdict(NONE, None, "there are no Good samples in the day before"), _unknown())
        return PointDiagnosis(
            tag.point, tag.name, tag.unit, 0, 0, None, None, None, finding, {}, None, np.zeros(0), None
        )
    known = [turning(store, plant, tag, each) for each in found]
    batch = _batch(found, known, tag)
    levels = {name: _number(values) for name, values in _values(batch, ("time", "spectrum")).items() if name in _LEVELS}
    verdict, harmonic = _verdict(batch)
    about = _circumstances(found, known, levels["kurtosis"], _zone(tag, levels["vel_rms_10_1000"]), harmonic)
    return PointDiagnosis(
        point=tag.point,
        tag=tag.name,
        unit=tag.unit,
        windows=len(found),
        seconds=about.seconds,
        first=found[0].start,
        last=found[-1].end,
        rpm=None if np.isnan(about.rpm) else about.rpm,
        finding=finding_of(verdict, about),
        levels={name: value for name, value in levels.items() if not np.isnan(value)},
        zone=_zone(tag, levels["vel_rms_10_1000"]),
        envelope=batch.envelopes.lines.mean(axis=0),
        known=known[-1],
    )


def _batch(found: tuple[Snapshot, ...], known: list[Turning], tag: Tag) -> Diagnosis:
    waveforms = Waveforms(np.stack([each.values for each in found]), found[0].sample_rate, tag.unit)
    shaft = np.array([each.shaft for each in known])
    return Diagnosis(waveforms, spectra(waveforms), shaft, known[-1].bearing)


def _values(batch: Diagnosis, groups: Iterable[str]) -> dict[str, Floats]:
    """Return the features of some groups, [windows] each."""
    inputs = {"waveforms": batch.waveforms, "spectra": batch.power, "diagnosis": batch}
    return {spec.name: spec.kernel(inputs[GROUPS[name].takes]) for name in groups for spec in GROUPS[name].specs}


def _verdict(batch: Diagnosis) -> tuple[Verdict, float]:
    """Return the verdict, and the second harmonic of its strongest line over the line."""
    if batch.orders is None:
        return Verdict(NONE, None, NOTHING), np.nan
    values = _values(batch, ("envelope",))
    verdict = diagnose(values, batch.shaft, batch.orders, batch.envelopes.resolution)
    if verdict.strongest is None:
        return verdict, np.nan
    line = next(line for line, fault in FAULTS.items() if fault == verdict.strongest.fault)
    return verdict, _number(values[f"ses_{line}_h2"] / values[f"ses_{line}_amp"])


def _circumstances(
    found: tuple[Snapshot, ...], known: list[Turning], kurtosis: float, zone: str | None, harmonic: float
) -> Circumstances:
    lacks = dict.fromkeys(each.lacks for each in known if each.lacks)
    return Circumstances(
        windows=len(found),
        seconds=len(found[0].values) / found[0].sample_rate,
        sample_rate=found[0].sample_rate,
        rpm=_number(np.array([each.shaft * 60 for each in known])),
        rpm_source=max(each.speed_source for each in known),
        lacks="; ".join(lacks),
        kurtosis=kurtosis,
        zone=(zone or "")[:1],
        harmonic=harmonic,
    )


def _unknown() -> Circumstances:
    return Circumstances(0, 0.0, np.nan, np.nan, "", "", np.nan, "", np.nan)


def _zone(tag: Tag, velocity: float) -> str | None:
    if tag.zones is None or np.isnan(velocity):
        return None
    place = int(np.searchsorted(tag.zones.limits, velocity))
    return f"{'ABCD'[place]} ({tag.zones.source}, {tag.zones.machine})"


def _number(values: Floats) -> float:
    """Return the median of the defined values, NaN if there is none."""
    defined = values[np.isfinite(values)]
    return float(np.median(defined)) if len(defined) else float("nan")
