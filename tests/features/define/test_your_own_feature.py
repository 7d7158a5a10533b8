"""docs/your-own-feature.md works as it is written: its files are written, its commands are run."""

from __future__ import annotations

import re
import runpy
import tomllib
from contextlib import chdir
from pathlib import Path

import polars as pl
import pytest

from tests.commands import record_of

PAGE = (Path(__file__).parents[3] / "docs" / "your-own-feature.md").read_text(encoding="utf-8")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the page's files; the package can be imported and has its metadata, as after an installation."""
    blocks = re.findall(r"```(?:toml|python|csv)\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == PAGE.count("```toml") + PAGE.count("```python") + PAGE.count("```csv") == 6
    for name, text in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    package = tmp_path / "acme-features"
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = package / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    for group, points in project["entry-points"].items():
        lines = [f"{name} = {target}" for name, target in points.items()]
        (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(package)
    return tmp_path


def test_the_page_leads_to_a_feature_that_is_computed_and_served(written: Path) -> None:
    """Its test passes, every command succeeds, and the numbers are those the page names."""
    runpy.run_path(str(written / "acme-features" / "test_acme_features.py"))["test_one_hit_in_a_thousand_samples"]()
    [commands] = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    with chdir(written):
        runpy.run_path("history.py")
        records = {line: record_of(*line.split()[1:]) for line in commands.splitlines()}
    rows = pl.read_delta(str(written / ".penstock" / "features" / "press_vibration")).sort("event_timestamp")
    assert rows["frame_shock_share"].to_list() == [0.0, 0.0, 0.02, 0.02]
    assert rows["frame_reason"].null_count() == 4
    assert (written / "shocks.png").stat().st_size > 1000
    assert "Acme works standard 12" in str(records["penstock features explain shock_share"])
    served = records["penstock online press4 --feature press_vibration:frame_shock_share"]
    assert served["features"]["press_vibration:frame_shock_share"]["value"] == 0.02
