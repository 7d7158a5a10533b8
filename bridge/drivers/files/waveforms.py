"""Waveforms from files: the bursts of a range as stretches, and those that contradict an earlier burst."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from bridge.drivers.files.bursts import SeenBursts, burst_stretches
from bridge.drivers.files.formats.matlab import MatlabFile
from bridge.drivers.files.formats.parquet import GROUP, LONGEST, ParquetTable, burst_pages, row_groups
from bridge.drivers.files.formats.signals import SignalFile
from bridge.drivers.files.formats.tdms import TdmsSignals
from bridge.drivers.files.formats.text_signals import TextSignals
from bridge.drivers.files.formats.uff import UffSignals
from bridge.drivers.files.formats.wav import WavFile
from bridge.drivers.files.layout import Outline, Span, within
from bridge.drivers.files.names import no_column
from bridge.drivers.files.opening import ArchiveFile, whole
from bridge.drivers.files.options import Options
from bridge.drivers.files.starts import start_of
from bridge.drivers.files.stated_speeds import speed_problems, stated_speeds, within_range
from bridge.drivers.files.times import FAULT, GIVEN, INSTANT, ROW, with_instants
from bridge.drivers.files.values import Parsed
from bridge.drivers.raw_rows import RawRows
from historian.errors import SourceError
from historian.plant.connections import Tag
from historian.stated import Contradiction, rate_contradiction
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut

_LONGEST_US: Final = 366 * 86_400_000_000
"""Longest burst: the number of samples is an upper bound, and years beyond every calendar would follow from it."""


class WaveformFiles:
    """The `Layout` of waveform files. Remembers the bursts it has yielded, to find those that contradict them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._seen = SeenBursts()

    def outline(self, file: ArchiveFile, tags: Sequence[Tag]) -> Outline:
        """See `Layout.outline`; found from the bursts' times, and from the size of the file or row group."""
        addresses = list(dict.fromkeys(tag.address for tag in tags))
        if self._is_parquet(file):
            names, bursts = ParquetTable(file).names, self._times(file, addresses)
            absent = set(addresses) - set(names)
        else:
            held = self._signal_file(file).held(addresses)
            names, absent = held.names, set(held.absent)
            longest = pl.lit(held.longest, pl.Int64).alias(LONGEST)
            bursts = start_of(file, self._options, held.start).with_columns(longest)
        bursts = _with_slack(bursts, tags)
        earliest, latest, slack = bursts[INSTANT].min(), bursts[INSTANT].max(), bursts["slack"].max()
        if bursts.height and earliest is None:
            given, fault = bursts.select(GIVEN, FAULT).row(0)
            raise SourceError(f'none of its times can be read; the first is "{given}": {fault}')
        span = None
        if isinstance(earliest, datetime) and isinstance(latest, datetime) and isinstance(slack, timedelta):
            span = Span(earliest, latest, slack)
        problems = tuple(self._wrong_speeds(file, tags, bursts))
        return Outline(span, frozenset(absent), frozenset(names), problems, unseen=frozenset(absent))

    def _wrong_speeds(self, file: ArchiveFile, tags: Sequence[Tag], head: pl.DataFrame) -> Iterator[str]:
        """Yield how the speeds that the file states contradict the plant file; only what states them is read."""
        compared = [tag for tag in tags if tag.fixed_rpm and not self._is_parquet(file)]
        if compared:
            found = self._signal_file(file).signals([tag.address for tag in compared]).values
            for tag in compared:
                if tag.address in found:
                    speeds = stated_speeds(head, found[tag.address], tag, file.name).rows.samples
                    yield from speed_problems(tag, speeds)

    def glance(self, file: ArchiveFile, tags: Sequence[Tag]) -> Outline:
        """See `Layout.glance`; an outline reads no samples."""
        return self.outline(file, tags)

    def pages(
        self, file: ArchiveFile, outline: Outline, tags: Sequence[Tag], start: datetime, end: datetime
    ) -> Generator[Parsed, None, Outline]:
        """See `Layout.pages`; messages name a burst by its row, or by its value in the column `row`."""
        addresses = list(dict.fromkeys(tag.address for tag in tags))
        if not self._is_parquet(file):
            yield from self._one_burst(file, tags, start, end)
            return outline
        bursts = _with_slack(self._times(file, addresses), tags)
        instant, slack = pl.col(INSTANT), pl.col("slack")
        near = instant.is_null() | ((instant - slack < end) & (instant + slack >= start))
        groups = bursts.filter(near)[GROUP].unique().to_list()
        for table in burst_pages(file, addresses, bursts.filter(pl.col(GROUP).is_in(groups)).drop("slack")):
            yield from self._page(table, tags, file.name, start, end)
        return outline

    def _one_burst(self, file: ArchiveFile, tags: Sequence[Tag], start: datetime, end: datetime) -> Iterator[Parsed]:
        addresses, source = list(dict.fromkeys(tag.address for tag in tags)), self._signal_file(file)
        said = None if self._options.start_pattern or self._options.start else source.held(addresses).start
        head, found = start_of(file, self._options, said), source.signals(addresses)
        rates = {**self._stated_rates(source, addresses), **found.rates}
        wrong = list(_contradictions(tags, rates))
        right = [tag for tag in tags if tag.name not in {each.tag for each in wrong}]
        table = head.hstack([pl.Series(address, [values]) for address, values in found.values.items()])
        yield from self._page(table, right, file.name, start, end)
        for tag in right:
            if tag.sample_rate is None and tag.address in found.values:
                yield within_range(stated_speeds(head, found.values[tag.address], tag, file.name), start, end)
        problems = [*found.problems, *map(str, wrong)]
        if wrong and isinstance(source, TextSignals) and self._options.elapsed is None:
            problems.append('or say elapsed = "" if column 1 is no time')
        if problems:
            raise SourceError("; ".join(problems))

    def _stated_rates(self, source: SignalFile, addresses: Sequence[str]) -> dict[str, float]:
        """Return the sample rate that the file states where the key `rate` says, for all addresses."""
        if self._options.rate is None:
            return {}
        stated = source.signals([self._options.rate])
        if problems := [*stated.problems, *([] if stated.values else [f"there is no {self._options.rate}"])]:
            raise SourceError(f"{'; '.join(problems)}; see rate")
        return dict.fromkeys(addresses, float(stated.values[self._options.rate][0]))

    def _page(
        self, table: pl.DataFrame, tags: Sequence[Tag], origin: str, start: datetime, end: datetime
    ) -> Iterator[Parsed]:
        waveforms = [tag for tag in tags if tag.sample_rate and tag.address in table.columns]
        parts = [self._stretches(table, tag, origin) for tag in waveforms]
        if parts:
            stretches = pl.concat([part.rows.waveforms for part in parts])
            rows = RawRows(waveforms=cut(WaveformBatch(stretches), start, end))
            rejected = pl.concat([part.rejected for part in parts])
            yield Parsed(rows, rejected.filter(within(start, end, "timestamp")))

    def _times(self, file: ArchiveFile, addresses: Sequence[str]) -> pl.DataFrame:
        """Return the bursts of a Parquet file without their samples: ROW, INSTANT, FAULT, GIVEN, GROUP and LONGEST."""
        options = self._options
        columns = list(dict.fromkeys([*options.timestamps, *([options.row] if options.row else [])]))
        known = pl.read_parquet_schema(whole(file))
        if missing := [column for column in columns if column not in known]:
            raise no_column(missing, list(known))
        times = pl.read_parquet(whole(file), columns=columns, row_index_name=ROW, row_index_offset=1)
        times = with_instants(times, options.timestamps, options.rule)
        found = times.select(pl.col(options.row or ROW).cast(pl.String).alias(ROW), INSTANT, FAULT, GIVEN)
        return found.hstack(row_groups(file, addresses))

    def _is_parquet(self, file: ArchiveFile) -> bool:
        return self._options.format_of(file.name) == "parquet"

    def _signal_file(self, file: ArchiveFile) -> SignalFile:
        kind = self._options.format_of(file.name)
        if kind == "matlab":
            return MatlabFile(file)
        if kind == "wav":
            return WavFile(file)
        if kind == "tdms":
            return TdmsSignals(file)
        return UffSignals(file) if kind == "uff" else TextSignals(file, self._options)

    def _stretches(self, table: pl.DataFrame, tag: Tag, origin: str) -> Parsed:
        is_array = isinstance(table.schema[tag.address], pl.Array)
        values = pl.col(tag.address).arr.to_list() if is_array else pl.col(tag.address)
        bursts = table.select(row=ROW, instant=INSTANT, fault=FAULT, given=GIVEN, values=values)
        rate, stamp = tag.sample_rate or 1.0, self._options.stamp
        news = self._seen.news(tag.name, bursts.drop_nulls("values"), rate)
        return burst_stretches(news, tag=tag.name, sample_rate=rate, stamp=stamp, origin=origin)


def _contradictions(tags: Sequence[Tag], rates: Mapping[str, float]) -> Iterator[Contradiction]:
    """Yield what a file states about sample rates, by address, that contradicts the plant file."""
    for tag in tags:
        stated = rates.get(tag.address)
        if stated and tag.sample_rate:
            found = rate_contradiction(tag.name, stated=stated, configured=tag.sample_rate, by="the file")
            if found:
                yield found


def _with_slack(bursts: pl.DataFrame, tags: Sequence[Tag]) -> pl.DataFrame:
    """Add the `slack` around the times of bursts in which their samples lie, and those of bursts that overlap them."""
    slowest = min((tag.sample_rate for tag in tags if tag.sample_rate), default=math.inf)
    slack = (2 * pl.col(LONGEST) * 1e6 / slowest).ceil().clip(0, _LONGEST_US)
    return bursts.with_columns(slack=slack.cast(pl.Int64).cast(pl.Duration("us")))
