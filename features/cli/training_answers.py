"""What `penstock training-set` answers: a record for programs and text for people."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from features.training.manifest import Manifest
from features.training.prepare import Prepared
from features.training.training_set import null_rates
from features.training.verdicts import differences, event_warnings, not_known, strong_predictors, verdicts
from features.training.verify import Verified

_SUSPECTS_SHOWN: Final = 5
Answer = tuple[dict[str, Any], str]
"""For programs, and for people."""


def has_failed(record: dict[str, Any]) -> bool:
    """Return whether a set came out otherwise when made again, or has values not known at their label's time.

    Args:
        record: Of an answer.
    """
    return not record.get("verified", True) or bool("leakage" in record and not_known(record["leakage"]))


def planned(prepared: Prepared) -> Answer:
    """Return the answer to a dry run.

    Args:
        prepared: Labels and plan.
    """
    plan, splits = prepared.plan, _split_counts(prepared)
    counts = {
        **prepared.counts,
        **{f"purged from {name}": count for name, count in prepared.split.purged.items()},
    }
    record = {**_plan_record(prepared), "counts": counts, "splits": splits}
    rows = f"{prepared.labels.height} labels, {len(plan.refs)} features of {', '.join(plan.tables)}"
    lines = [f"{rows}; nothing was written"]
    lines += [f"  {name}: {count}" for name, count in {**counts, **splits}.items()]
    lines += [f"  {warning}" for warning in record["warnings"]]
    return record, "\n".join(lines)


def _plan_record(prepared: Prepared) -> dict[str, Any]:
    plan, events = prepared.plan, _events(prepared)
    return {
        "labels": prepared.labels.height,
        "features": plan.refs,
        "target": prepared.target,
        "gap": prepared.split.gap,
        "table_versions": {view: table.version.number for view, table in plan.tables.items()},
        "events": events,
        "warnings": [*event_warnings(events), *plan.warnings],
    }


def _events(prepared: Prepared) -> dict[str, Any]:
    return prepared.made.events.to_manifest() if prepared.made.events else {}


def rows_written(prepared: Prepared, table: pa.Table, out: Path) -> Answer:
    """Return the answer for a file of rows.

    Args:
        prepared: Labels and plan.
        table: The rows.
        out: The file they were written to.
    """
    plan = prepared.plan
    rates = null_rates(table, plan)
    missing = sum(rates.values()) / len(rates)
    warnings = [*event_warnings(_events(prepared)), *plan.warnings]
    record = {
        "training_rows": table.num_rows,
        "features": list(rates),
        "null_rate": missing,
        "null_rates": rates,
        **plan.mode,
        "warnings": warnings,
        "out": out,
    }
    text = f"{out}: {table.num_rows} rows, {len(rates)} features, {missing:.1%} of their values missing"
    return record, "\n  ".join([text, *warnings])


def artefact_written(manifest: Manifest, out: Path, verified: Verified | None) -> Answer:
    """Return the answer for an artefact.

    Args:
        manifest: As it was written.
        out: The artefact's directory.
        verified: What making it again has shown, if that was requested.
    """
    columns = manifest["columns"]
    missing = sum(about["missing"] for about in columns.values()) / len(columns)
    record = {
        "training_rows": manifest["rows"]["total"],
        "rows": manifest["rows"],
        "features": list(columns),
        "null_rate": missing,
        "target": manifest["target"],
        "corrections": manifest["corrections"],
        "leakage": manifest["leakage"],
        "warnings": verdicts(manifest),
        "content_hash": manifest["content_hash"],
        "out": out,
        **(_verdict(verified) if verified else {}),
    }
    lines = [
        f"{out}: {_row_text(manifest['rows'])}; {len(columns)} features, {missing:.1%} of their values missing",
        f"  {manifest['leakage']['values_audited']:,} values audited; content {manifest['content_hash'][:16]}",
        *(f"  {note}" for note in strong_predictors(manifest["leakage"], _SUSPECTS_SHOWN)),
        *(f"  {warning}" for warning in verdicts(manifest, most=_SUSPECTS_SHOWN)),
        *([textwrap.indent(_verdict_text(verified), "  ")] if verified else []),
    ]
    return record, "\n".join(lines)


def made_again(manifest: Path, verified: Verified) -> Answer:
    """Return the answer of `verify`.

    Args:
        manifest: The manifest or its directory, as it was given.
        verified: What making the set again has shown.
    """
    record = {"rows": verified.rows, "leakage": verified.leakage, **_verdict(verified)}
    return record, "\n".join([f"{manifest}: {_verdict_text(verified)}", *not_known(verified.leakage)])


def compared(one: Manifest, other: Manifest) -> Answer:
    """Return the answer of `diff`.

    Args:
        one: A manifest.
        other: Another.
    """
    found = differences(one, other)
    same = one["content_hash"] == other["content_hash"]
    head = "the same rows and values" if same else "other rows or values"
    return {"same_content": same, "differences": found}, "\n".join([head, *found])


def _verdict(verified: Verified) -> dict[str, object]:
    return {
        "verified": not verified.differences,
        "differences": verified.differences,
        "moved_on": verified.moved_on,
    }


def _verdict_text(verified: Verified) -> str:
    verdict = "not what is written" if verified.differences else "the same"
    return "\n".join([f"{verified.rows} rows made again, {verdict}", *verified.differences, *verified.moved_on])


def _row_text(rows: dict[str, Any]) -> str:
    splits = "".join(f", {count} {name}" for name, count in rows.get("split", {}).items())
    purged = f", {sum(rows['purged'].values())} purged" if "purged" in rows else ""
    return f"{rows['total']} rows{splits}{purged}"


def _split_counts(prepared: Prepared) -> dict[str, int]:
    if not prepared.split.purged:
        return {}
    counts = dict(prepared.labels["split"].value_counts().iter_rows())
    return {name: counts.get(name, 0) for name in prepared.split.purged}
