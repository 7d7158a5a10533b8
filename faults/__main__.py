"""Runs every case, or those whose words are given: `python -m faults [WORD ...]`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.cases import CASES
from faults.runs import run_case


def main(words: list[str]) -> None:
    """Run the cases, print each that fails, and end with exit code 1 if any did."""
    chosen = [case for case in CASES if all(word in str(case) for word in words)]
    failed = 0
    for case in chosen:
        with TemporaryDirectory() as directory:
            try:
                run_case(case, Path(directory))
            except Exception as error:  # noqa: BLE001 (whatever a case ends with is what it found)
                failed += 1
                print(f"{case}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} runs ended with exactly the samples of the archive")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
