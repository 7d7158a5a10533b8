"""Real servers for tests, each in a directory and on a port of its own, on loopback only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from socket import create_server
from threading import Event, Thread
from types import ModuleType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
import pytest

_INFLUX1 = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{directory}/meta"
  logging-enabled = false
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  index-version = "tsi1"
  query-log-enabled = false
  max-series-per-database = 0
  max-values-per-tag = 0
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false
  max-row-limit = 0
  max-body-size = {max_body}
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[logging]
  level = "error"
"""

# The 2.x write path in front of a 1.x engine: `influxdb-client` writes to it as to InfluxDB 2.
_SHIM = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log warn; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 32m;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  map $arg_precision $unit {{ default $arg_precision; "" ns; "us" u; }}
  server {{
    listen 127.0.0.1:{port};
    location = /api/v2/write {{ {busy} proxy_pass http://127.0.0.1:{behind}/write?db=$arg_bucket&precision=$unit; }}
    location / {{ proxy_pass http://127.0.0.1:{behind}; }}
  }}
}}
"""


def free_port() -> int:
    """A port nobody listens on."""
    with create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def needed(program: str) -> str:
    """The path of a server's program. Without it the test is skipped; CI must have it."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    return path or _absent(program)


def needed_module(name: str) -> ModuleType:
    """A module of an extra. Without it the test, or the test module, is skipped; CI must have it."""
    return import_module(name) if find_spec(name.partition(".")[0]) else _absent(name)


def _absent(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing", allow_module_level=True)


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size, in memory. Without the right to mount one the test is skipped, but not in CI."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(directory)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        _absent("the right to mount a small file system")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextmanager
def read_only(directory: Path) -> Iterator[Path]:
    """The directory, mounted so that nothing in it can be changed. Without that right the test is skipped, as above."""
    mount = ["mount", "--bind", str(directory), str(directory)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        _absent("the right to mount a directory read-only")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(directory)], check=True)
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@dataclass
class Server:
    """A server in a process of its own, that can be killed and started again on its old data."""

    command: list[str]
    port: int
    health: str
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                if httpx.get(self.base + self.health, timeout=5).status_code < 300:
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, f"{self.command} ended at once"
            time.sleep(0.05)
        raise AssertionError(f"{self.command} does not answer")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stops it, optionally with kill -9."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


def influx1(directory: Path, *, auth: bool = False, max_body: int = 0) -> Server:
    """Debian's InfluxDB 1.6, not started."""
    port = free_port()
    text = _INFLUX1.format(directory=directory, port=port, rpc=free_port(), auth=str(auth).lower(), max_body=max_body)
    (directory / "influxdb.conf").write_text(text)
    return Server([needed("influxd"), "-config", str(directory / "influxdb.conf")], port, "/ping")


def shim(directory: Path, behind: Server, *, busy: int = 0) -> Server:
    """nginx as InfluxDB 2's write path in front of InfluxDB 1, not started; `busy` is how it answers every write."""
    port = free_port()
    refusal = f"add_header Retry-After 17 always; return {busy};" if busy else ""
    text = _SHIM.format(directory=directory, port=port, behind=behind.port, busy=refusal)
    (directory / "nginx.conf").write_text(text)
    command = [needed("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", str(directory / "log")]
    return Server(command, port, "/ping")


def influx2(directory: Path, program: str) -> Server:
    """InfluxDB 2, not started, with organisation `north` and an operator's token `secret` once `set_up2` has run."""
    port = free_port()
    options = {
        "bolt-path": directory / "influxd.bolt",
        "sqlite-path": directory / "influxd.sqlite",
        "engine-path": directory / "engine",
        "http-bind-address": f"127.0.0.1:{port}",
        "log-level": "error",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return Server([program, "--reporting-disabled", *flags], port, "/health")


def set_up2(server: Server) -> None:
    """Makes the first user, the organisation and a token, as an administrator does once."""
    body = {"username": "admin", "password": "only-a-test", "org": "north", "bucket": "first", "token": "secret"}
    httpx.post(f"{server.base}/api/v2/setup", json=body, timeout=30).raise_for_status()


Answer = tuple[int, dict[str, str], str]
"""Status, headers and body."""


@contextmanager
def answering(answers: Mapping[str, Answer]) -> Iterator[int]:
    """Runs a server on loopback with a given answer per path, `""` for all others; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's, as are the next two
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = answers.get(urlsplit(self.path).path) or answers[""]
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def redis_server(directory: Path, *options: str, port: int | None = None) -> Iterator[int]:
    """Debian's Redis on loopback, in memory only, while the block runs; gives its port. `options` are its own."""
    chosen = port or free_port()
    command = [needed("redis-server"), "--bind", "127.0.0.1", "--port", str(chosen), "--save", "", *options]
    with subprocess.Popen([*command, "--dir", str(directory)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert any("Ready to accept connections" in line for line in process.stdout), f"{command} ended at once"
            yield chosen
        finally:
            process.terminate()


@contextmanager
def two_ray_nodes() -> Iterator[str]:
    """The address of a Ray cluster of a head and a second node of one processor each."""
    # Otherwise Ray takes 127.0.0.1 for another name of the machine's outer address; to be said before it is imported.
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    utils: Any = needed_module("ray.cluster_utils")
    options = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    started = utils.Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    try:
        started.add_node(**options)
        started.wait_for_nodes()
        yield started.address
    finally:
        started.shutdown()


@contextmanager
def complaints(address: str) -> Iterator[None]:
    """Makes the cluster log node deaths all the time, as it does when a node has died."""
    client: Any = needed_module("ray._raylet").GcsClient(address=address)
    publish: Any = needed_module("ray._private.utils").publish_error_to_driver
    enough = Event()

    def complain() -> None:
        while not enough.wait(0.1):
            publish("node_died", "a node has died", client)

    thread = Thread(target=complain)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
