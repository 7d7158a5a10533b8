"""--memory bounds the memory of a run, whatever the range."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event

import pytest

from benchmarks.memory import peak_bytes
from features.compute.follow import Follower
from features.compute.online_rows import Online
from features.compute.run import compute
from historian.stores.lake.store import LakeStore
from tests.features.compute.pumps import EPOCH, NOW, at, plant, signal, stored, write

MEBIBYTE = 2**20
ALLOWED = 64 * MEBIBYTE
CALL = "from pathlib import Path; from tests.features.compute.test_run_memory import {0}; {0}(Path({1!r}))"


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    """Directories of plants by how many seconds of four signals they have."""
    roots = {seconds: tmp_path_factory.mktemp(str(seconds)) for seconds in (600, 3000)}
    for seconds, root in roots.items():
        lake = LakeStore(root / "lake")
        for tag in ("p1.de_h", "p1.nde_h", "p2.de_h", "p2.nde_h"):
            write(lake, signal(tag, 0, seconds), source="test", now=NOW)
    return roots


@pytest.mark.slow
@pytest.mark.parametrize("way", ["run", "follow"])
def test_memory_follows_the_setting_not_the_range(lakes: Mapping[int, Path], way: str) -> None:
    """Five times the samples: the peak grows by less than the setting, where all of them at once take 150 MiB more."""
    peaks = {}
    for seconds, root in lakes.items():
        call = [sys.executable, "-c", CALL.format(way, str(root))]
        peaks[seconds] = int(subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout)
        assert stored(plant(root, EPOCH), EPOCH).height == 4 * seconds
        shutil.rmtree(root / "state")  # the other way computes everything again
    assert peaks[3000] - peaks[600] < ALLOWED, peaks


def run(root: Path) -> None:
    """One run with little memory, in the process this is called in; prints its peak in bytes."""
    compute(plant(root, EPOCH), LakeStore(root / "lake"), at(NOW), memory=ALLOWED)
    print(peak_bytes())


def follow(root: Path) -> None:
    """Follows with nothing online, until everything stored is computed; prints the peak in bytes."""
    stop, online = Event(), Online(lambda _view, _rows: None, lambda: None)
    follower = Follower(plant(root, EPOCH), LakeStore(root / "lake"), at(NOW), [], online, memory=ALLOWED)
    follower.run(stop, pause=0, report=lambda _: stop.set())
    print(peak_bytes())
