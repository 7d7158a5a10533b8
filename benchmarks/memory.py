"""Peak memory of this process, as the kernel has it."""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """The largest resident set since this program began: `ru_maxrss` also counts what its parent had when it forked."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
