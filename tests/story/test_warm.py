"""The programs of the fixture `warm` are processes like any other, or the tests that use them would show nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

CODE = "import os, time; print(os.getpid(), os.getcwd(), os.environ['A'], flush=True); time.sleep(60)"


def started(warm: Path, directory: Path) -> tuple[subprocess.Popen[str], Path]:
    """A program that runs for a minute, and its own process under /proc."""
    command = [str(warm / "python"), "-c", CODE]
    program = subprocess.Popen(
        command, cwd=directory, env={"A": "b"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    process, *rest = program.stdout.readline().split()
    assert rest == [str(directory), "b"]
    return program, Path("/proc", process)


def test_a_signal_arrives_and_ends_the_program_as_it_ends_any(warm: Path, tmp_path: Path) -> None:
    """SIGTERM is passed on; who waits sees it in the exit code."""
    program, process = started(warm, tmp_path)
    program.terminate()
    program.communicate(timeout=30)
    assert (program.returncode, process.exists()) == (-signal.SIGTERM, False)


def test_kill_9_kills_the_process_too(warm: Path, tmp_path: Path) -> None:
    """It cannot be passed on, but the process ends soon after."""
    program, process = started(warm, tmp_path)
    program.kill()
    program.communicate(timeout=30)
    until = monotonic() + 20
    while process.exists():
        assert monotonic() < until
        sleep(0.01)


def test_the_exit_code_and_the_streams_are_the_programs(warm: Path) -> None:
    """Both those of a command and those of code."""
    code = "import sys; print(sys.stdin.read()); print('no', file=sys.stderr); sys.exit(3)"
    command = [str(warm / "python"), "-c", code]
    done = subprocess.run(command, input="yes", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "yes\n", "no\n")
    unknown = subprocess.run([str(warm / "penstock"), "chekc"], env=os.environ, stderr=subprocess.DEVNULL, timeout=60)
    assert unknown.returncode == 2
