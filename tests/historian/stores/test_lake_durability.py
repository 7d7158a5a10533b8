"""What a write syncs to the disk, and in which order, as seen in the system calls of a writer process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.servers import needed

WRITER: Final = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import polars as pl
from historian.samples import SCHEMA, sample_batch
from historian.stores.lake.layout import FileLayout
from historian.stores.lake.store import LakeStore
from historian.waveforms.batch import waveform_batch
from historian.waveforms.packing import pack

t0 = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
store = LakeStore(Path(sys.argv[1]) / "new" / "lake", layout=FileLayout(merge_every=3))
for number in range(4):
    rows = [("a", t0 + timedelta(seconds=number + at), 1.0, None, 0) for at in range(2)]
    batch = sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    store.write(batch, source="s", now=t0)
    store.write_waveforms(pack(batch, {"a": 1.0}).batch, source="s", now=t0)
    (Path(sys.argv[1]) / "returned").write_text(str(number))
store.compact()
"""
CALL: Final = re.compile(r"(?:\[pid\s+\d+\] |\d+ +)?(\w+)\((.*)\) += (\d+)")


class Call(NamedTuple):
    """A system call that succeeded: a file or directory synced, named, or opened for writing."""

    name: str
    paths: list[Path]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The calls of a process that creates a lake, writes four batches of both kinds, merges and compacts."""
    directory = tmp_path_factory.mktemp("durability")
    trace = "trace=fsync,fdatasync,openat,link,linkat,rename,renameat,renameat2"
    options = ["-f", "-y", "-s", "4096", "-e", trace, "-o", str(directory / "trace")]
    command = [needed("strace"), *options, sys.executable, "-c", WRITER, str(directory)]
    subprocess.run(command, check=True, timeout=100)
    return list(_parsed(directory, (directory / "trace").read_text()))


def _parsed(directory: Path, trace: str) -> Iterator[Call]:
    # A call during which another thread was seen stands in two halves.
    halves: dict[str, str] = {}
    for line in trace.splitlines():
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            halves[pid] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        whole = halves.pop(pid, "") + line.split("resumed>", 1)[1] if "resumed>" in line else line
        match = CALL.match(whole)
        if match is None or (match[1] == "openat" and not re.search("O_WRONLY|O_RDWR", match[2])):
            continue
        inside = [Path(path) for path in re.findall(r'[<"](/[^">]*)[>"]', match[2]) if str(directory) in path]
        if inside:
            yield Call(match[1], inside)


def test_no_commit_has_its_name_before_its_data_is_on_the_disk(calls: list[Call]) -> None:
    """The files a commit adds, their directories and its own text are synced before it is named."""
    commits = 0
    for number, call in enumerate(calls):
        if call.name != "link":
            continue
        draft, commit = call.paths
        synced = {path for each in calls[:number] if each.name == "fsync" for path in each.paths}
        added = [json.loads(line) for line in commit.read_text().splitlines()]
        for path in [commit.parents[1] / action["add"]["path"] for action in added if "add" in action]:
            assert {path, path.parent, commit.parents[1]} <= synced
        opened = max(at for at, each in enumerate(calls[:number]) if each.name == "openat" and draft in each.paths)
        assert any(each.name == "fsync" and draft in each.paths for each in calls[opened:number])
        commits += 1
    assert commits >= 20


def test_every_commit_is_on_the_disk_when_the_write_returns(calls: list[Call]) -> None:
    """After a commit is named, the log's directory is synced before anything else happens."""
    returned = [at for at, call in enumerate(calls) if call.paths[0].name == "returned"]
    commits = [at for at, call in enumerate(calls) if call.name == "link"]
    assert len(returned) == 4
    for commit in commits:
        log = calls[commit].paths[1].parent
        until = min((at for at in [*returned, *commits] if at > commit), default=len(calls))
        assert any(call.name == "fsync" and log in call.paths for call in calls[commit:until])


def test_the_ledger_never_names_what_is_not_there(calls: list[Call]) -> None:
    """Of each write the data is committed first: whoever reads of it in the ledger finds it."""
    committed = [call.paths[1].parents[1].name for call in calls if call.name == "link"]
    assert committed[:4] == ["samples", "ledger", "waveforms", "ledger"]


def test_a_new_lake_is_on_the_disk_with_all_its_directories(calls: list[Call]) -> None:
    """A table is named once its first commit is on the disk, and so are the directories above it."""
    renamed = [(at, call.paths) for at, call in enumerate(calls) if call.name.startswith("rename")]
    tables = [(at, paths) for at, paths in renamed if paths[0].suffix == ".new"]
    assert sorted(paths[1].name for _, paths in tables) == ["ledger", "newest", "samples", "waveforms"]
    for at, (draft, table) in tables:
        before = {path for call in calls[:at] if call.name == "fsync" for path in call.paths}
        assert {draft / "_delta_log" / f"{0:020d}.json", draft / "_delta_log", draft} <= before
        assert {table.parents[1], table.parents[2]} <= before
        assert any(call.name == "fsync" and table.parent in call.paths for call in calls[at:])
