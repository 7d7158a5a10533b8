"""`penstock training-set --engine ray`: the same bytes from a cluster, and without it no Ray at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from historian.errors import HistorianError
from historian.plant.plant import Plant
from tests.features.files import contents
from tests.servers import complaints


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and processes to the garbage collector
def test_a_cluster_of_two_nodes_gives_the_same_bytes(
    history: Path, penstock: Callable[..., Any], ray_address: str
) -> None:
    """All files are identical: none shows where the set was made, and this machine verifies what the cluster made.

    What the cluster says meanwhile is not part of the answer.
    """
    command = ["training-set", "make", history / "rule.toml", "--split", "time", "--out"]
    on_ray = ["--engine", "ray", "--address", ray_address]
    penstock(*command, history / "here")
    with complaints(ray_address):
        made = penstock(*command, history / "there", *on_ray, "--memory", "64MiB", "--json")
    assert made["out"] == str(history / "there")
    assert contents(history / "there") == contents(history / "here")
    verified = penstock("training-set", "verify", history / "there", "--json")
    assert (verified["verified"], verified["differences"], verified["moved_on"]) == (True, [], [])


def test_a_cluster_that_does_not_answer_is_reported(history: Path, penstock: Callable[..., Any]) -> None:
    """Nothing is written."""
    command = ["training-set", history / "rule.toml", "--out", history / "set", "--engine", "ray"]
    with pytest.raises(HistorianError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        penstock(*command, "--address", "127.0.0.1:1")
    assert not (history / "set").exists()


@pytest.mark.slow
def test_one_machine_does_not_load_ray(history: Path, plant: Plant, warm: Path) -> None:
    """`penstock training-set` without --engine ray, with the whole artefact."""
    code = (
        "import sys; from historian.cli.main import app;"
        f"app(['training-set', {str(history / 'rule.toml')!r}, '--plant', {str(plant.root)!r},"
        f" '--out', {str(history / 'set')!r}], standalone_mode=False); assert 'ray' not in sys.modules"
    )
    subprocess.run([str(warm / "python"), "-c", code], check=True, timeout=100, stdout=subprocess.DEVNULL)
    assert (history / "set" / "manifest.json").exists()
