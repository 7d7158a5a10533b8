"""Progress of long work on the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.control import strip_control_codes
from rich.text import Text

from historian.cli.console import answer, progress


class Screen(io.StringIO):
    """Records what is written to a terminal."""

    def isatty(self) -> bool:
        """Returns true, as a terminal does."""
        return True


def drawn(screen: io.StringIO, *, total: int | None = None, seconds: int = 0, quiet: bool = False) -> list[str]:
    """Each line drawn while 1,500 samples a second are copied, without colours and movements of the cursor."""
    clock = [0.0]
    console = Console(file=screen, width=100, force_terminal=True, get_time=lambda: clock[0])
    with progress("copying", unit="samples", total=total, quiet=quiet, console=console) as advance:
        for _ in range(seconds):
            clock[0] += 1
            advance(1500)
    lines = screen.getvalue().replace("\r", "\n").split("\n")
    plain = [strip_control_codes(Text.from_ansi(line).plain).strip() for line in lines]
    return [line for line in plain if line]


@pytest.mark.parametrize(
    ("seconds", "ending"),
    [
        (0, "0/120000 – samples/s -:--:--"),
        (3, "4500/120000 1,500 samples/s 0:01:17"),
        (80, "120000/120000 1,500 samples/s 0:00:00"),
    ],
)
def test_progress_shows_rate_and_time_left(seconds: int, ending: str) -> None:
    """It shows what is done of the total, the rate, and how long the rest takes at that rate."""
    last = drawn(Screen(), total=120_000, seconds=seconds)[-1]
    assert "copying" in last
    assert " ".join(last.split()).endswith(ending)


def test_work_of_unknown_length_has_a_rate_and_no_time_left() -> None:
    """Without a total the time left cannot be computed."""
    last = drawn(Screen(), seconds=3)[-1]
    assert " ".join(last.split()).endswith("4500/? 1,500 samples/s")


def test_nothing_is_drawn_when_quiet_or_into_a_file() -> None:
    """No progress is written with `quiet`, nor if the output is not a terminal."""
    assert drawn(Screen(), total=9000, seconds=3, quiet=True) == []
    assert drawn(io.StringIO(), total=9000, seconds=3) == []


def test_what_is_printed_meanwhile_is_not_part_of_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    """A library may print in the middle of the work."""
    with progress("copying", unit="samples", quiet=True):
        print("by the way")
    answer({"copied": 1}, "", as_json=True)
    assert capsys.readouterr() == ('{"copied": 1}\n', "by the way\n")
