"""The rows of a benchmark with their bounds, printed as a table and stored as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import figure
from benchmarks.machine import machine

RESULTS = Path(__file__).resolve().parent / "results"


def row(
    label: str,
    measured: float,
    *,
    unit: str,
    reference: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    runs: Sequence[float] = (),
) -> dict[str, Any]:
    """Return a row. With a reference, the bounds are for the ratio to it, otherwise for the measured value."""
    ratio = None if reference is None else measured / reference
    value = measured if ratio is None else ratio
    bounds = [
        f"{word} {bound:g}" for word, bound in (("at most", at_most), ("at least", at_least)) if bound is not None
    ]
    must = " and ".join(bounds)
    if bounds and reference is not None:
        must += " times"
    elif bounds and unit:
        must += f" {unit}"
    return {
        "what": label,
        "unit": unit,
        "measured": measured,
        "reference": reference,
        "ratio": ratio,
        "at_most": at_most,
        "at_least": at_least,
        "must": must,
        "reached": (at_most is None or value <= at_most) and (at_least is None or value >= at_least),
        "runs": list(runs),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    width = max((len(row["what"]) for row in rows), default=0)
    print(f"\n{'what':<{width}}  {'measured':>10} {'unit':<8} {'reference':>10}  {'ratio':>6}  must")
    for item in rows:
        numbers = f"{figure(item['measured']):>10} {item.get('unit', ''):<8} {figure(item['reference']):>10}"
        missed = "" if item["reached"] else "  NOT REACHED"
        print(f"{item['what']:<{width}}  {numbers}  {figure(item['ratio']):>6}  {item['must']}{missed}", flush=True)


def say(text: str) -> None:
    """Print the progress of a benchmark."""
    print(f"  {text}", flush=True)


def save(name: str, rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """Write a benchmark's rows as JSON, with the machine that measured them."""
    RESULTS.mkdir(exist_ok=True)
    result = {"benchmark": name, "machine": machine(), "rows": list(rows), **more}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
