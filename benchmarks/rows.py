"""What a benchmark says: rows with their bounds, shown as a table and kept as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import figure
from benchmarks.machine import machine

RESULTS = Path(__file__).resolve().parent / "results"


def row(
    what: str,
    measured: float,
    *,
    unit: str,
    reference: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    runs: Sequence[float] = (),
) -> dict[str, Any]:
    """Return a row; with a reference its bound is one on the ratio, else on what was measured."""
    ratio = None if reference is None else measured / reference
    judged = measured if ratio is None else ratio
    bounds = [
        f"{word} {bound:g}" for word, bound in (("at most", at_most), ("at least", at_least)) if bound is not None
    ]
    return {
        "what": what,
        "unit": unit,
        "measured": measured,
        "reference": reference,
        "ratio": ratio,
        "at_most": at_most,
        "at_least": at_least,
        "must": " and ".join(bounds)
        + (" times" if bounds and reference is not None else f" {unit}" if bounds and unit else ""),
        "reached": (at_most is None or judged <= at_most) and (at_least is None or judged >= at_least),
        "runs": list(runs),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    width = max((len(row["what"]) for row in rows), default=0)
    print(f"\n{'what':<{width}}  {'measured':>10} {'unit':<8} {'reference':>10}  {'ratio':>6}  must")
    for one in rows:
        numbers = f"{figure(one['measured']):>10} {one.get('unit', ''):<8} {figure(one['reference']):>10}"
        missed = "" if one["reached"] else "  NOT REACHED"
        print(f"{one['what']:<{width}}  {numbers}  {figure(one['ratio']):>6}  {one['must']}{missed}", flush=True)


def say(what: str) -> None:
    """Show how far a benchmark is."""
    print(f"  {what}", flush=True)


def save(name: str, rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """Write a benchmark's rows as JSON, with the machine that measured them."""
    RESULTS.mkdir(exist_ok=True)
    result = {"benchmark": name, "machine": machine(), "rows": list(rows), **more}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
