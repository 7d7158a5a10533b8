"""Checks the manifest of `penstock verify` against exports of both sides, with Python's standard library alone.

    python3 verify_manifest.py manifest.json --source pi.csv --store lake.csv --quarantined quarantined.csv

Exports are CSV files with the columns tag, timestamp (ISO 8601 with a zone), value, and perhaps text and quality (OPC
UA status codes, or what --quality translates to them: 192=0). Numbers need all their digits. The source may use its own
names of tags, and its own units. The exit code is 0 if everything agrees; otherwise what does not is printed.
"""

import argparse
import csv
import json
import math
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

NO_TEXT, BAD, BAD_NO_DATA = 0xFFFFFFFF, 0x80000000, 0x809B0000


class Sample(NamedTuple):
    """A sample of one tag; its time is in microseconds since 1970, UTC."""

    time: int
    value: float
    quality: int
    text: str

    def form(self, *, timed: bool = True) -> bytes:
        """The canonical form without the text: 24 bytes. NaN, which is no value, has one form."""
        value = self.value if self.value == self.value else math.nan
        time, quality = (self.time, self.quality) if timed else (0, 0)
        return struct.pack("<qdII", time, value, quality, len(self.text.encode()) if self.text else NO_TEXT)


def micros(text: str) -> int:
    """Microseconds from 1970 to an instant."""
    return (datetime.fromisoformat(text.strip()) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def sample_of(row: Mapping[str, str], tag: Mapping[str, Any], qualities: Mapping[str, str], *, raw: bool) -> Sample:
    """The sample of a row, in engineering units, by the rules in docs/verify.md."""
    cell, text, quality = row["value"] or "", row.get("text") or "", row.get("quality") or "0"
    try:
        value = float(cell)
    except ValueError:
        text, value = text or cell, math.nan
    if raw:
        value = value * tag["scale"] + tag["offset"]
    code = int(qualities.get(quality, quality))
    if raw and tag["kind"] == "state" and not text and math.isfinite(value):
        text, value = str(int(value)) if value == int(value) else repr(value), math.nan
    if not math.isfinite(value) and tag["kind"] != "waveform":
        value, code = math.nan, code if text or code >= BAD else BAD_NO_DATA
    return Sample(micros(row["timestamp"]), value, code, text)


def read(
    paths: Iterable[str], tags: Mapping[str, Any], qualities: Mapping[str, str], *, raw: bool
) -> dict[str, list[Sample]]:
    """Tag -> its different samples, in the order of time; rows of other tags, and rows without a time, are left out."""
    found: dict[str, dict[tuple[bytes, str], Sample]] = {}
    for path in paths:
        with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 (as short as it can be)
            for row in csv.DictReader(file):
                if row["tag"] in tags and row["timestamp"]:
                    one = sample_of(row, tags[row["tag"]], qualities, raw=raw)
                    found.setdefault(tags[row["tag"]]["tag"], {})[one.form(), one.text] = one
    return {tag: sorted(samples.values()) for tag, samples in found.items()}


def digest(samples: Sequence[Sample], *, timed: bool) -> str:
    """The hash of samples in the order of time."""
    records, texts = sha256(), sha256()
    for one in samples:
        records.update(one.form(timed=timed))
        texts.update(one.text.encode())
    return sha256(records.digest() + texts.digest()).hexdigest()


def without(samples: Sequence[Sample], apart: Sequence[Sample], slack: int) -> list[Sample]:
    """The samples that are not in quarantine."""
    times, timed = [one.time for one in apart], not slack

    def is_apart(one: Sample) -> bool:
        near = apart[bisect_left(times, one.time - slack) : bisect_right(times, one.time + slack)]
        return any((each.form(timed=timed), each.text) == (one.form(timed=timed), one.text) for each in near)

    return [one for one in samples if not is_apart(one)]


def mistakes(manifest: Mapping[str, Any], side: str, export: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    """What the export of a side has that the manifest does not say."""
    start, end = micros(manifest["start"]), micros(manifest["end"])
    for tag in manifest["tags"]:
        samples = [one for one in export.get(tag["tag"], ()) if start <= one.time < end]
        times, used = [one.time for one in samples], 0
        for day in manifest["days"]:
            said = day[side]
            if day["tag"] != tag["tag"] or not said["count"]:
                continue
            first = bisect_left(times, micros(said["first"]) - tag["slack_us"])
            last = bisect_right(times, micros(said["last"]) + tag["slack_us"])
            found = last - first, digest(samples[first:last], timed=not tag["slack_us"])
            if found != (said["count"], said["sha256"]):
                yield f"{side} {tag['tag']} {day['day']}: {found} in the export, {said} in the manifest"
            used += last - first
        if used != len(samples):
            yield f"{side} {tag['tag']}: {abs(len(samples) - used)} samples are in no day of the manifest"


def signature(manifest: Mapping[str, Any]) -> str:
    """The hash of a manifest."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def all_mistakes(given: argparse.Namespace, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Everything that does not agree: manifest and exports, or one side and the other."""
    if manifest["sha256"] != signature(manifest):
        yield "the manifest is not what was written: its hash is another one"
    if not manifest["equal"]:
        yield "the manifest itself says that the sides differ, or that not all could be read"
    names = {tag["tag"]: tag for tag in manifest["tags"]}
    apart = read(given.quarantined, names, {}, raw=False)
    addresses = {tag["address"]: tag for tag in manifest["tags"]}
    source = read(given.source, {**addresses, **names}, dict(each.split("=") for each in given.quality), raw=True)
    kept = {tag: without(some, apart.get(tag, ()), names[tag]["slack_us"]) for tag, some in source.items()}
    yield from mistakes(manifest, "source", kept)
    yield from mistakes(manifest, "store", read(given.store, names, {}, raw=False))
    for day in manifest["days"]:
        ours, theirs = ([day[side][key] for key in ("count", "sha256", "qualities")] for side in ("source", "store"))
        if ours != theirs:
            yield f"{day['tag']} {day['day']}: {ours} in the source, {theirs} in the store"


def main(arguments: Sequence[str]) -> int:
    """Print what does not agree; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="manifest.json of the report")
    for name in ("--source", "--store", "--quarantined"):
        parser.add_argument(name, nargs="+", default=[], metavar="CSV")
    parser.add_argument("--quality", nargs="+", default=[], metavar="CODE=STATUS", help="for the source's qualities")
    given = parser.parse_args(arguments)
    with open(given.manifest, encoding="utf-8") as file:  # noqa: PTH123 (as above)
        manifest = json.load(file)
    found = list(all_mistakes(given, manifest))
    counts = f"{manifest['samples']} samples, {len(manifest['days'])} days, {manifest['quarantined']['samples']} apart"
    print("\n".join(found) or f"both exports are what manifest {manifest['sha256']} says: {counts}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
