"""The manifest of a verification: for each tag and day what both sides have, as JSON that others can check.

`sha256` is that of the manifest without this key, as JSON with sorted keys and without spaces: a number to write down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import polars as pl

from bridge.run.verify.comparing import Comparing
from bridge.run.verify.comparison import Day, Key
from bridge.run.verify.signals import slack_us
from bridge.run.verify.summaries import Summary
from historian.plant.connections import Tag
from historian.stores.protocols import Reader
from historian.times import format_instant, from_micros

FORMAT: Final = "penstock-verify/1"


@dataclass(frozen=True)
class TagRecord:
    """What must be known of a tag to compute its hashes from an export of the source."""

    tag: str
    asset: str
    address: str
    """Name of the tag in the source."""
    unit: str
    scale: float
    offset: float
    """value = raw * scale + offset."""
    kind: str
    """`number`, `state` (whose values are texts) or `waveform`."""
    slack_us: int
    """How far the times of a sample may be apart on the two sides; 0 for all but waveforms."""


@dataclass(frozen=True)
class DayRecord:
    """What was found about a tag's day of UTC."""

    tag: str
    day: str
    source: Summary
    """Samples of the source after ingest, without quarantined ones."""
    store: Summary
    missing: int
    extra: int
    changed: int
    quarantined: int
    differs_from: str | None
    """Time of the first sample that differs; None if there is none."""
    differs_until: str | None
    """Time of the last one."""
    extra_from: tuple[str, ...]
    """Sources that have written to the store in that time, if the store has samples that this source lacks."""


@dataclass(frozen=True)
class Unread:
    """A range that could not be read, which is therefore not proven."""

    tags: tuple[str, ...]
    start: str
    end: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """The result of a verification."""

    format: str
    archive: str
    created: str
    start: str | None
    """First instant compared; None if there was nothing to compare."""
    end: str | None
    policy: str | None
    samples: int
    """Number of samples of the source that were compared."""
    equal: bool
    """Whether everything could be read, and all of it is the same on both sides."""
    tags: tuple[TagRecord, ...]
    days: tuple[DayRecord, ...]
    quarantined: Mapping[str, Any]
    """Number of samples, and the name and SHA-256 of the file that lists them."""
    unread: tuple[Unread, ...]
    problems: tuple[str, ...]
    """What the archive cannot read in any range."""
    sha256: str = ""

    def as_json(self) -> str:
        """Return the manifest as JSON, a day a line."""
        record = asdict(self)
        days = ",\n".join(json.dumps(day) for day in record.pop("days"))
        head = json.dumps(record, indent=1)
        return head.removesuffix("\n}") + f',\n "days": [\n{days}\n]}}\n'


def manifest_of(
    comparing: Comparing, store: Reader, *, quarantined: Mapping[str, Any], policy: str | None, now: datetime
) -> Manifest:
    """Return the manifest of what was found.

    Args:
        comparing: the comparison, finished.
        store: the store, whose ledger says where samples came from that the source lacks.
        quarantined: the manifest's field of that name.
        policy: what was done about samples that contradict the store.
        now: the current time.
    """
    days, results = _days(comparing, store), comparing.results.days
    ends = comparing.extents.values()
    unread = tuple(
        Unread(task.tags, format_instant(task.start), format_instant(task.end), reason)
        for task, reason in comparing.failures
    )
    made = Manifest(
        format=FORMAT,
        archive=comparing.connection.name,
        created=format_instant(now),
        start=format_instant(min(each[0] for each in ends)) if ends else None,
        end=format_instant(max(each[1] for each in ends)) if ends else None,
        policy=policy,
        samples=sum(day.source.count for day in days),
        equal=not unread and not comparing.problems and all(day.is_equal for day in results.values()),
        tags=tuple(_tag_record(tag) for tag in comparing.connection.tags),
        days=days,
        quarantined=quarantined,
        unread=unread,
        problems=tuple(comparing.problems),
    )
    return _signed(made)


def _signed(made: Manifest) -> Manifest:
    record = asdict(made)
    del record["sha256"]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return Manifest(**{**vars(made), "sha256": sha256(text.encode()).hexdigest()})


def _tag_record(tag: Tag) -> TagRecord:
    kind = "waveform" if tag.sample_rate else "state" if tag.kind == "state" else "number"
    return TagRecord(tag.name, tag.asset, tag.address, tag.unit, tag.scale, tag.offset, kind, slack_us(tag))


def _days(comparing: Comparing, store: Reader) -> tuple[DayRecord, ...]:
    ledger = store.changes(None) if any(day.extra for day in comparing.results.days.values()) else None
    return tuple(_day_record(key, day, ledger) for key, day in sorted(comparing.results.days.items()))


def _day_record(key: Key, day: Day, ledger: pl.DataFrame | None) -> DayRecord:
    source = day.source.summary()
    ends = [from_micros(each) for each in day.span] if day.span else []
    return DayRecord(
        tag=key.tag,
        day=f"{key.start:%Y-%m-%d}",
        source=source,
        store=source if day.store is day.source else day.store.summary(),
        missing=day.missing,
        extra=day.extra,
        changed=day.changed,
        quarantined=day.quarantined,
        differs_from=format_instant(ends[0]) if ends else None,
        differs_until=format_instant(ends[1]) if ends else None,
        extra_from=_writers(key.tag, ends[0], ends[1], ledger) if day.extra and ledger is not None else (),
    )


def _writers(tag: str, first: datetime, last: datetime, ledger: pl.DataFrame) -> tuple[str, ...]:
    rows = ledger.filter(pl.col("tag") == tag, pl.col("first") <= last, pl.col("last") >= first)
    return tuple(rows["source"].unique().sort())
