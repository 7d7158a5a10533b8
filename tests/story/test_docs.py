"""Commands of the documentation work: every `sh` block of the README is run, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_work(tmp_path: Path, warm: Path) -> None:
    """Typed one after the other, they succeed. `test_demo` starts the commands as they are installed."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == README.count("```sh") > 6
    environment = {**os.environ, "PATH": f"{warm}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = "set -e\n" + "\n".join(blocks)
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "plant" / "training.parquet").exists()
    assert (tmp_path / "plant" / "failing-soon" / "manifest.json").exists()


def test_every_directory_of_tests_is_run() -> None:
    """It is run by `make test` or by `make compare`."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = {*configuration["tool"]["pytest"]["ini_options"]["testpaths"], "tests/compare"}
    assert {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in ROOT.glob("tests/*/**/test_*.py")} == run
    assert list(ROOT.glob("tests/test_*.py")) == []


def test_every_command_is_in_the_readme_or_the_reference() -> None:
    """No command is undocumented."""
    reference = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in entry_points(group="penstock.commands").names if f"penstock {name}" not in reference] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_are_valid(page: Path) -> None:
    """Relative links name files that exist."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
