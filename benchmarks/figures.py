"""What is measured: each figure of docs/benchmarks.md, the script that prints it, and its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.figure import Figure
from benchmarks.waveform_figures import BRIDGE_FIGURES, WAVEFORM_FIGURES


def _read_memory(samples: int) -> Figure:
    what = f"reads {samples:,} samples of one vibration channel from 1.6"
    return _peak_memory("influx_read_memory", "influx_memory", what, samples=samples)


def _materialize_memory(rows: int) -> Figure:
    what = f"materialises {rows:,} feature rows of 50 assets to SQLite"
    return _peak_memory("materialize_memory", "materialize_memory", what, rows=rows)


def _peak_memory(name: str, script: str, what: str, **size: int) -> Figure:
    """The peak memory of a process that does something to data of one size."""
    [count] = size.values()
    return Figure(
        f"{name}_{count // 1_000_000}m",
        script,
        script,
        f"peak memory of a process that {what}",
        "",
        unit="MiB",
        better="lower",
        line=name,
        key="peak_mib",
        where=size,
    )


def _fleet(key: str, what: str, target: float | None = None, *, unit: str = "s") -> Figure:
    where = {"assets": 5_000}
    return Figure(f"fleet_5000_{key}", "fleet", "fleet", what, "", target, unit, "lower", "fleet", key, where)


def _files_backfill(layout: str, tags: int) -> Figure:
    name = f"backfill_files_{layout}"
    return Figure(
        name if layout == "long" else f"{name}_{tags}",
        "backfill_files",
        "backfill_files",
        f"a backfill of a CSV file of 5 M samples of {tags} tags, {layout}, into the lake",
        "`polars.read_csv`, then the lake's write of the same samples",
        0.5,
        line=name,
        where={"tags": tags},
    )


def _database_backfill(source: str, label: str, into: str, store: str) -> Figure:
    return Figure(
        f"backfill_{source}" if into == "lake" else f"backfill_{source}_to_influx",
        "backfill_databases",
        "backfill_databases",
        f"`penstock backfill` of a day of 20 tags at 1 Hz from {label} into {store}",
        "the slower of reading alone and writing alone",
        0.8,
        line=f"backfill_{source}",
        where={"into": into},
    )


_DATABASES: Final = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "influx1": "InfluxDB 1.6"}
_STORES: Final = {"lake": "the lake", "influx1": "InfluxDB 1.6"}

FIGURES: Final = (
    *WAVEFORM_FIGURES,
    *BRIDGE_FIGURES,
    *(_database_backfill(*source, *store) for source in _DATABASES.items() for store in _STORES.items()),
    Figure(
        "serialise_vs_dataframe",
        "influx",
        "influx",
        "line protocol of 1 M samples by Polars expressions",
        "`influxdb-client`, pandas frame",
        10,
    ),
    Figure("serialise_vs_point", "influx", "influx", "the same", "`influxdb-client`, one `Point` per sample", 20),
    Figure(
        "influx_write_vs_raw",
        "influx",
        "influx",
        "`InfluxStore.write` into 1.6, with its ledger",
        "posting the same lines, serialised beforehand",
        0.9,
    ),
    Figure(
        "influx_read_vs_csv",
        "influx",
        "influx",
        "`InfluxStore.read` of 500,000 samples from 1.6",
        "downloading the same CSV and discarding it",
        0.8,
    ),
    Figure(
        "influx_read_vs_flux",
        "influx",
        "influx",
        "`InfluxStore.read` of 1 M samples from 2.8",
        "`query_data_frame` with a pivot",
        5,
    ),
    *(_files_backfill(layout, tags) for layout, tags in (("long", 50), ("wide", 50), ("wide", 600))),
    *(_read_memory(samples) for samples in (5_000_000, 10_000_000, 25_000_000, 50_000_000)),
    Figure(
        "features_2048_vs_naive",
        "features",
        "features",
        "windows of 2,048 samples",
        "`benchmarks/naive.py`: NumPy and SciPy, window by window",
        20,
    ),
    Figure(
        "features_2048_vs_tsfel",
        "features",
        "features",
        "the same, all 22",
        "tsfel's [counterparts](comparison-with-other-libraries.md) of 12 of them",
        100,
    ),
    Figure(
        "features_2048_vs_rfft",
        "features",
        "features",
        "the same",
        "the bare `scipy.fft.rfft` of the same windows",
        0.35,
    ),
    Figure("features_25600_vs_rfft", "features", "features", "windows of 25,600 samples", "the same", 0.35),
    Figure(
        "envelope_vs_hilbert",
        "features",
        "features",
        "squared envelope and its lines, 25,600 samples, from the FFT of the spectral features",
        "band-pass, Hilbert transform, FFT",
        5,
    ),
    Figure("envelope_with_its_fft_vs_hilbert", "features", "features", "the same with an FFT of its own", "the same"),
    Figure(
        "feature_job_vs_kernels_4m",
        "jobs",
        "jobs",
        "from 4 million stored samples to feature rows, CPU time, one core",
        "the kernels alone on the same arrays",
        0.5,
        line="feature_job_vs_kernels",
        where={"samples": 4_000_000},
    ),
    Figure(
        "feature_job_vs_kernels_16m",
        "jobs",
        "jobs",
        "the same, 16 million",
        "the same",
        0.55,
        line="feature_job_vs_kernels",
        where={"samples": 16_000_000},
    ),
    Figure(
        "features_two_cores",
        "jobs",
        "jobs",
        "two processes on two cores, second half of 200 million samples",
        "one on one",
        1.7,
    ),
    Figure(
        "features_two_cores_ceiling",
        "jobs",
        "jobs",
        "two runs at once on a core each",
        "one on one",
        line="features_two_cores",
        key="ceiling",
    ),
    Figure(
        "features_two_cores_whole",
        "jobs",
        "jobs",
        "two processes, all samples, from the first instant",
        "one on one",
        line="features_two_cores",
        key="whole",
    ),
    Figure(
        "feature_job_growth",
        "jobs",
        "jobs",
        "CPU time per window at 10 million samples",
        "at 1 million",
        1.1,
        better="lower",
    ),
    Figure(
        "follow_latency",
        "jobs",
        "jobs",
        "50 assets, windows of 1 s, from stored to online: 2 s divided by the 99th percentile",
        "",
        1,
    ),
    Figure(
        "follow_latency_p50",
        "jobs",
        "jobs",
        "the same: median",
        "",
        unit="s",
        better="lower",
        line="follow_latency",
        key="p50",
    ),
    Figure(
        "follow_latency_p99",
        "jobs",
        "jobs",
        "the same: 99th percentile",
        "",
        2,
        unit="s",
        better="lower",
        line="follow_latency",
        key="p99",
    ),
    _fleet("compute", "`penstock compute` with nothing new, 5,000 assets with 10,000 tags, from start to end", 3),
    _fleet("apply", "`penstock apply` with nothing changed, the same", 5),
    _fleet("follow", "the first round of `compute --follow`, with all that it opens, the same", 5),
    _fleet("round", "a later round with nothing new, the same"),
    _fleet("compute_mib", "peak memory of `penstock compute` with nothing new, the same", unit="MiB"),
    _fleet("apply_mib", "peak memory of `penstock apply` with nothing changed, the same", unit="MiB"),
    _fleet("serve_mib", "peak memory of `penstock serve` after its first answer with features, the same", unit="MiB"),
    Figure(
        "pit_small_vs_dask",
        "point_in_time",
        "point_in_time",
        "5,000 labels, 100,000 rows",
        "Feast's `dask` store",
        200,
    ),
    Figure(
        "pit_medium_vs_duckdb",
        "point_in_time",
        "point_in_time",
        "20,000 labels, 432,000 rows, one every 10 s",
        "Feast's `duckdb` store",
        15,
    ),
    Figure(
        "pit_medium_memory_vs_duckdb",
        "point_in_time",
        "point_in_time",
        "the same: peak memory",
        "its peak memory",
        0.33,
        better="lower",
    ),
    Figure(
        "pit_minutes_vs_duckdb",
        "point_in_time",
        "point_in_time",
        "20,000 labels, 432,000 rows, one every minute",
        "Feast's `duckdb` store",
    ),
    Figure(
        "pit_minutes_memory_vs_duckdb",
        "point_in_time",
        "point_in_time",
        "the same: peak memory",
        "its peak memory",
        better="lower",
    ),
    Figure(
        "pit_large_vs_bare",
        "point_in_time",
        "point_in_time",
        "1,000,000 labels, 10,000,000 rows",
        "Polars `join_asof` and gather on the same files",
        0.7,
    ),
    Figure(
        "materialize_sqlite_vs_feast",
        "materialize",
        "materialize",
        "20,000 assets, 10 features, into an empty SQLite",
        "Feast's own materialisation",
        10,
    ),
    Figure("materialize_redis_vs_feast", "materialize", "materialize", "the same into an empty Redis", "the same", 10),
    *(_materialize_memory(rows) for rows in (1_000_000, 5_000_000, 10_000_000)),
)

SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = {
    **{figure.script: () for figure in FIGURES},
    "influx_memory": ("--samples", "50000000"),
    "kernels": (),
}
"""Script -> the arguments that measure what the page shows. `kernels` prints shares of a whole and no figure."""
