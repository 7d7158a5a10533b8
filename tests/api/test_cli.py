"""`penstock serve`, run as a person runs it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from historian.plant.plant import Plant

pytestmark = pytest.mark.slow  # a process of its own that imports Feast

PENSTOCK = str(Path(sys.executable).with_name("penstock"))


def test_the_server_says_where_it_listens_and_serves(served: Plant) -> None:
    """One JSON line once it listens; Ctrl-C ends it without a stack trace."""
    command = [PENSTOCK, "serve", "--port", "0", "--json", "--plant", str(served.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            assert ready["ready"] is True
            assert httpx.get(f"{ready['url']}/readyz", timeout=60).json() == {"status": "ok"}
            assert len(httpx.get(f"{ready['url']}/v1/tags", timeout=60).json()) == len(served.tags)
        finally:
            server.send_signal(signal.SIGINT)
            _, stderr = server.communicate(timeout=60)
    assert "Traceback" not in stderr


def test_what_was_served_over_http_is_recomputed_offline(served: Plant, warm: Path) -> None:
    """Values served over HTTP are logged, and `penstock consistency` recomputes the same ones offline."""
    file = served.root / "plant.toml"
    file.write_text(f'{file.read_text()}\n[online]\nlog = "30d"\n', encoding="utf-8")
    body = {
        "features": ["compressor_vibration:de_h_rms_ac", "compressor_process:oil_temp_mean"],
        "entities": {"asset": ["c101", "c102", "c999"]},
    }
    command = [str(warm / "penstock"), "serve", "--port", "0", "--json", "--plant", str(served.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        statuses = [httpx.post(f"{url}/get-online-features", json=body, timeout=60).status_code for _ in range(3)]
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)

    checked = [str(warm / "penstock"), "consistency", "--since", "now-1h", "--json", "--plant", str(served.root)]
    done = subprocess.run(checked, capture_output=True, text=True, timeout=100)

    assert statuses == [200, 200, 200]
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["values"], found["wrong"]) == (3 * 2 * 3, [])
    assert {row["feature"]: row["match"] for row in found["features"]} == dict.fromkeys(body["features"], 9)


def test_a_port_in_use_is_reported(plant: Plant, warm: Path) -> None:
    """The error says what to do, and the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [str(warm / "penstock"), "serve", "--port", port, "--plant", str(plant.root)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --port" in done.stderr
