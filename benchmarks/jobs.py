"""How much of a feature job is not kernels, what a second core gains, how time and memory grow, and the latency.

Both sides of a ratio run turn by turn, so that a busy machine slows both; medians. Prints JSON lines. Run it with
`python -m benchmarks.jobs [NAME ...]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Timer
from time import perf_counter, process_time, sleep
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.memory import peak_bytes
from features.compute.engines.processes import in_process, processes
from features.compute.follow import Follower, RoundFailure, RoundReport
from features.compute.online_rows import Online, online_rows
from features.compute.rows.kernel_values import waveform_values
from features.compute.run import MEMORY, ViewJob
from features.compute.splitting import budget
from features.feast.registry.feast_repo import apply, open_feature_store
from features.windows.tiling import Tiling
from historian.plant.load import load_plant
from historian.plant.plant import Plant, View
from historian.stores.lake.store import LakeStore
from historian.times import from_micros, micros, utc_now
from historian.waveforms.batch import waveform_batch
from historian.waveforms.encoding import encode
from historian.waveforms.joining import normalise_waveforms

_RATE: Final = 25_600
_WINDOW: Final = 2048
_LENGTH: Final = timedelta(seconds=1) * _WINDOW / _RATE
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH: Final = 1_000_000
_ROUNDS: Final = 3
_MANY_ROUNDS: Final = 25
"""For short work, whose time varies by more than it takes."""
_WARM_UP: Final = timedelta(seconds=6)
"""The first rounds open files, fill caches and catch up with what was written meanwhile."""


def main() -> None:
    """The figures named on the command line, or all."""
    figures: Mapping[str, Callable[[], None]] = {
        "feature_job_vs_kernels": job_vs_kernels,
        "features_two_cores": two_cores,
        "feature_job_growth": growth,
        "follow_latency": follow_latency,
    }
    for name in sys.argv[1:] or figures:
        figures[name]()


def job_vs_kernels() -> None:
    """The whole job, from waveforms in the lake to the feature table, against the kernels alone; CPU time of each.

    On the same arrays and one core. A run costs some 70 ms whatever it has to do, which is half of a short one.
    """
    for samples in (4_000_000, 16_000_000):
        with TemporaryDirectory() as root:
            _fill(Path(root), 1, samples)
            turns = _child(f"job_and_kernels({root!r}, {samples})", 1)
        ratio = median(kernels / job for job, kernels in turns)
        _print("feature_job_vs_kernels", ratio, samples=samples, job=_middle(turns, 0), kernels=_middle(turns, 1))


def job_and_kernels(root: str, samples: int) -> None:
    """Prints the CPU seconds of both, turn by turn."""
    plant, values = _plant(Path(root), 1), _noise(samples)
    turns = [(_cpu(lambda: _run(plant, 1)), _cpu(lambda: _kernels(values))) for _ in range(1 + _ROUNDS)]
    print(json.dumps(turns[1:]))


def two_cores() -> None:
    """The job with two processes on two cores against one on one, and two jobs at once: the ceiling.

    `ratio` is of the samples a second once both work, in the second half of them; `whole` is of all seconds from the
    first instant, in which the second process takes 1.5 to start.
    """
    with TemporaryDirectory() as root:
        _fill(Path(root), 2, 100_000_000)
        turns = []
        for _ in range(_ROUNDS):
            one, two = (_child(f"timed_half({root!r}, {cores})", cores) for cores in (1, 2))
            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(lambda core: _child(f"timed_half({root!r}, 1)", 1, first=core), (0, 1)))
            ceiling = sum(one["half"] / each["half"] for each in both)
            turns.append((one["half"] / two["half"], ceiling, one["whole"] / two["whole"]))
    ratio, ceiling, whole = (median(side) for side in zip(*turns, strict=True))
    _print("features_two_cores", ratio, ceiling=ceiling, whole=whole, turns=[turn[0] for turn in turns])


def timed_half(root: str, jobs: int) -> None:
    """Prints the seconds of a job, and of the second half of its samples."""
    done, begun = [(0, perf_counter())], perf_counter()
    _run(_plant(Path(root), 2), jobs, lambda samples: done.append((done[-1][0] + samples, perf_counter())))
    middle = next(at for samples, at in done if samples >= done[-1][0] / 2)
    print(json.dumps({"whole": perf_counter() - begun, "half": done[-1][1] - middle}))


def growth() -> None:
    """CPU time per window, but for what any run costs, turn by turn; and peak memory, each size in a fresh process."""
    sizes = (2 * _WINDOW, 100_000, 1_000_000, 10_000_000)
    with TemporaryDirectory() as root:
        for samples in sizes:
            _fill(Path(root) / str(samples), 1, samples)
        turns = _child(f"growing({root!r}, {sizes})", 1)
        memory = {size: _child(f"job_memory({f'{root}/{size}'!r})", 1) for size in sizes[1:]}
    per_window = {
        size: median(turn[number] - turn[0] for turn in turns) / (size // _WINDOW - 2) * 1e6
        for number, size in enumerate(sizes)
        if number
    }
    ratio, fixed = per_window[10_000_000] / per_window[1_000_000], median(turn[0] for turn in turns)
    _print("feature_job_growth", ratio, us_per_window=per_window, fixed_ms=fixed * 1e3, mebibytes=memory)


def growing(root: str, sizes: tuple[int, ...]) -> None:
    """Prints the CPU seconds of a job of each size, turn by turn."""
    plants = [_plant(Path(root) / str(size), 1) for size in sizes]
    turns = [[_cpu(partial(_run, plant, 1)) for plant in plants] for _ in range(2 + _MANY_ROUNDS)]
    print(json.dumps(turns[2:]))


def job_memory(root: str) -> None:
    """Prints the peak memory of a process that has run the job twice, in MiB."""
    plant = _plant(Path(root), 1)
    for _ in range(2):
        _run(plant, 1)
    print(json.dumps(peak_bytes() // 2**20))


def _child(call: str, cores: int, *, first: int = 0) -> Any:
    """What a function of this module prints in a process of its own that has so many cores; Polars goes by them."""
    chosen = sorted(os.sched_getaffinity(0))[first : first + cores]
    code = f"import os; os.sched_setaffinity(0, {chosen}); from benchmarks.jobs import *; {call}"
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)


def follow_latency(assets: int = 50, rate: int = 256, seconds: int = 30) -> None:
    """From a window's last sample reaching the store to its features being online; windows of 1 s, written live."""
    with TemporaryDirectory() as root:
        latencies = live(Path(root), assets=assets, rate=rate, seconds=seconds)
    p50, p99 = np.percentile(latencies, [50, 99])
    _print("follow_latency", 2.0 / p99, p50=p50, p99=p99, rows=len(latencies), assets=assets, rate=rate)


def live(root: Path, *, assets: int, rate: int, seconds: int) -> list[float]:
    """Follows a lake into which another process writes as a bridge would; the latency of each row in seconds."""
    plant = _plant(root, assets, rate=rate, window="1s")
    apply(plant)
    arrivals = root / "arrivals.csv"
    command = f"from benchmarks.jobs import write_live; write_live({str(root)!r}, {assets}, {rate}, {seconds})"
    online, stop, found = online_rows(open_feature_store(plant), utc_now), Event(), list[float]()

    def write(view: View, rows: pl.DataFrame) -> None:
        online.write(view, rows)
        now = micros(utc_now())
        stored = pl.read_csv(arrivals, has_header=False, new_columns=["last", "at"])
        warm = from_micros(stored["at"][0]) + _WARM_UP
        steady = rows.filter(pl.col("de_h_valid"), pl.col("event_timestamp") > warm)
        needed = steady["event_timestamp"].to_physical().to_numpy() - 1_500_000 // rate
        place = np.searchsorted(stored["last"].to_numpy(), needed)
        found.extend(((now - stored["at"].to_numpy()[place]) / 1e6).tolist())

    follower = Follower(plant, LakeStore(root / "lake"), utc_now, [], Online(write, online.catch_up))
    with subprocess.Popen([sys.executable, "-c", command]) as writer:
        timer = Timer(seconds + 6, stop.set)
        timer.start()
        follower.run(stop, pause=0.5, report=_no_error)
        writer.wait(30)
    return found


def _no_error(done: RoundReport | RoundFailure) -> None:
    if isinstance(done, RoundFailure):
        raise RuntimeError(done.error)


def write_live(root: str, assets: int, rate: int, seconds: int) -> None:
    """Twice a second the stretches since the last time, of all assets; notes when they had reached the store."""
    store, arrivals = LakeStore(Path(root) / "lake"), Path(root) / "arrivals.csv"
    period = 1e6 / rate
    done = micros(utc_now()) // 1_000_000 * 1_000_000
    count = 0
    start, end = done, done + seconds * 1_000_000
    while start + count * period < end:
        sleep(0.5)
        fresh = int((micros(utc_now()) - start) / period) - count
        times = start + np.round((count + np.arange(fresh)) * period).astype(np.int64)
        values = np.sin(times * 1e-3)
        frames = [_stretches(f"a{number}.de_h", int(times[0]), values, rate) for number in range(assets)]
        batch = normalise_waveforms(pl.concat(frames)).batch
        store.write_waveforms(batch, source="live", now=utc_now())
        count += fresh
        with arrivals.open("a", encoding="ascii") as file:
            file.write(f"{times[-1]},{micros(utc_now())}\n")


def _plant(root: Path, assets: int, *, rate: int = _RATE, window: str = "80ms") -> Plant:
    """Machines with one vibration point each."""
    root.mkdir(exist_ok=True)
    names = [f"a{number}" for number in range(assets)]
    machines = "".join(f'[assets.{name}]\nclass = "machine"\n' for name in names)
    (root / "plant.toml").write_text(
        f'[site]\nname = "bench"\nstate = "{root}"\n'
        f'[classes.machine.points]\nde_h = {{ kind = "vibration", unit = "g", sample_rate = {rate} }}\n'
        f'[classes.machine.features]\nvibration = {{ window = "{window}", points = ["de_h"] }}\n'
        f'{machines}[archives.none]\ndriver = "files"\npath = "*.csv"\nlayout = "long"\ntags = "tags.csv"\n',
        encoding="utf-8",
    )
    rows = "".join(f"{name}.de_h,{name},de_h,x\n" for name in names)
    (root / "tags.csv").write_text("tag,asset,point,address\n" + rows, encoding="utf-8")
    return load_plant(root)


def _noise(samples: int) -> npt.NDArray[np.float64]:
    """Noise as a converter of 16 bits and 10 g measures it; it has one zero."""
    step = 10 / 2**15
    return np.round(np.random.default_rng(0).normal(size=samples) / step) * step + 0.0


def _fill(root: Path, assets: int, samples: int) -> None:
    """Noise in the lake as stretches, in batches as a bridge would write them."""
    store = LakeStore(root / "lake")
    for first in range(0, samples, _BATCH):
        few = _noise(min(_BATCH, samples - first))
        start = micros(_START) + round(first * 1e6 / _RATE)
        for number in range(assets):
            batch = waveform_batch(_stretches(f"a{number}.de_h", start, few, _RATE))
            store.write_waveforms(batch, source="bench", now=_START)


def _stretches(tag: str, start: int, values: npt.NDArray[np.float64], rate: float) -> pl.DataFrame:
    """Values from an instant on, in microseconds since the epoch, as stretches of a tag."""
    heads = {"tag": [tag], "timestamp": [start], "sample_rate": [float(rate)], "count": [len(values)], "quality": [0]}
    return encode(pl.DataFrame(heads), values)


def _run(plant: Plant, jobs: int, advance: Callable[[int], None] = lambda _: None) -> None:
    """The job into a table of its own."""
    with TemporaryDirectory() as state:
        store = LakeStore(plant.state / "lake")
        site = replace(plant, state=Path(state))
        engine = processes(store, store.path.as_uri(), "", jobs=jobs) if jobs > 1 else in_process(store)
        for view in plant.views.values():
            job = ViewJob(site, view, store, utc_now)
            job.run(job.plan(budget(MEMORY, jobs)), engine, advance=advance)


def _kernels(values: npt.NDArray[np.float64]) -> None:
    length = _LENGTH // timedelta(microseconds=1)
    first = np.arange(len(values) // _WINDOW) * _WINDOW
    waveform_values(values, first, Tiling(length, length, _RATE), "g")


def _cpu(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start


def _middle(turns: list[tuple[float, float]], side: int) -> float:
    return median(turn[side] for turn in turns)


def _print(name: str, ratio: float, **others: object) -> None:
    def short(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: short(each) for key, each in value.items()}
        return round(float(value), 3) if isinstance(value, float) else value

    print(
        json.dumps({"name": name, "ratio": short(float(ratio)), **{key: short(each) for key, each in others.items()}})
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
