"""Writes the results into the pages of docs/, between their marks, and draws the chart."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.figures import figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
Result = Mapping[str, Any]
FAULTS = "faults"
# A million heartbeats that each ping once a minute; times in seconds.
MILLION, MINUTE, DAY = 1_000_000, 60, 86_400
COSTS = (
    "processor time of one ping, web process",
    "processor time of one ping, database",
    "write-ahead log of one ping",
    "history of one ping, row and index",
)


def write_report(names: Sequence[str]) -> None:
    """Write the results of these benchmarks into the pages and the chart in docs/."""
    for path, text in pages(read_results(names)).items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


def read_results(names: Sequence[str]) -> list[Result]:
    """Return the stored results of these benchmarks, in their order, followed by those of other benchmarks."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    ordered_names = [name for name in names if name in results]
    return [results[name] for name in [*ordered_names, *(results.keys() - set(names))]]


def pages(results: Sequence[Result]) -> dict[Path, str]:
    """Return the new text of each page and of the chart, by path."""
    performance, scaling, reliability = DOCS / "performance.md", DOCS / "scaling.md", DOCS / "reliability.md"
    faults = [result for result in results if result["benchmark"] == FAULTS]
    results = [result for result in results if result["benchmark"] != FAULTS]
    return {
        reliability: between_marks(reliability.read_text(), "faults", fault_table(faults)),
        performance: between_marks(performance.read_text(), "measured", tables(results)),
        scaling: between_marks(scaling.read_text(), "arithmetic", arithmetic(results)),
        DOCS / "performance.svg": chart(results),
    }


def between_marks(page: str, name: str, text: str) -> str:
    """Return the page with the text between its two marks of this name replaced. Raises ValueError without marks."""
    begin, end = f"<!-- {name}: written by script/bench --report -->", f"<!-- /{name} -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    new_page, count = pattern.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", page)
    if count != 1:
        raise ValueError(f"The page needs the marks {begin} and {end}, once.")
    return new_page


def tables(results: Sequence[Result]) -> str:
    """Return a table for each benchmark, with a sentence about its machine."""
    parts = []
    for result in results:
        lines = [f"### `{result['benchmark']}`", "", "| what | measured | reference | ratio | must | |"]
        lines.append("| --- | ---: | ---: | ---: | --- | --- |")
        for row in result["rows"]:
            verdict = "reached" if row["reached"] else "**not reached**"
            if not row["must"]:
                verdict = ""
            unit = f" {row['unit']}" if row.get("unit") else ""
            reference = f"{figure(row['reference'])}{unit}" if row["reference"] is not None else ""
            cells = (
                row["what"],
                f"{figure(row['measured'])}{unit}",
                reference,
                figure(row["ratio"]),
                row["must"],
                verdict,
            )
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join([*lines, "", machine_in_words(result["machine"])]))
    return "\n\n".join(parts) + "\n"


def fault_table(results: Sequence[Result]) -> str:
    """Return a table with the figures that were measured under each fault."""
    if not results:
        return "Not measured yet: run `./script/bench faults`.\n"
    lines = ["| fault | what was measured | figure | must |", "| --- | --- | ---: | --- |"]
    for result in results:
        for entry in result["figures"]:
            unit = f" {entry['unit']}" if entry["unit"] else ""
            must = f"at most {entry['at_most']:g}{unit}" if entry["at_most"] is not None else ""
            lines.append(f"| {entry['fault']} | {entry['promise']} | {figure(entry['measured'])}{unit} | {must} |")
        lines += ["", machine_in_words(result["machine"])]
    return "\n".join(lines) + "\n"


def machine_in_words(machine: Mapping[str, Any]) -> str:
    """Return one sentence about the machine that ran a benchmark."""
    database = machine.get("postgresql", {}).get("version", "unknown")
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']:g} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, PostgreSQL {database}, commit `{machine.get('commit', 'unknown')}`."
    )


# -- the chart -------------------------------------------------------------------------------------------------------
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .soft { fill: #59636e }
.track { fill: #eaeef2 } .good { fill: #1a7f5a } .bad { fill: #c0392b } .bound { stroke: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft { fill: #9198a1 }
  .track { fill: #2b313a } .good { fill: #3fb98a } .bad { fill: #ff6b5e } .bound { stroke: #9198a1 }
}
"""
WIDTH, LEFT, TOP, LINE, BAR = 860, 430, 56, 28, 14
FULL = (WIDTH - LEFT - 70) / 1.25  # pixels of a bar that uses all of its bound; longer bars end at 125 %


def chart(results: Sequence[Result]) -> str:
    """Return an SVG that shows how much of each bound is used; it is readable on light and dark pages."""
    bars = [(row, share) for result in results for row in result["rows"] if (share := used_share(row)) is not None]
    height = TOP + LINE * len(bars) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        '<title id="t">How much of each bound is used</title>',
        f"<style>{STYLE}</style>",
        '<text x="0" y="20" class="title">How much of each bound is used</text>',
        f'<text x="{LEFT + FULL:.0f}" y="{TOP - 12}" text-anchor="middle" class="soft">the bound</text>',
    ]
    for number, (row, share) in enumerate(bars):
        y = TOP + LINE * number
        verdict = "good" if row["reached"] else "bad"
        middle, length = y + BAR - 3, FULL * min(share, 1.25)
        parts += [
            f'<text x="{LEFT - 12}" y="{middle}" text-anchor="end">{escape(shortened(row["what"]))}</text>',
            f'<rect class="track" x="{LEFT}" y="{y}" width="{FULL:.0f}" height="{BAR}" rx="3"/>',
            f'<rect class="{verdict}" x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="3"/>',
            f'<text x="{LEFT + max(length, FULL) + 8:.0f}" y="{middle}">{share:.0%}</text>',
        ]
    x = f"{LEFT + FULL:.0f}"
    parts.append(f'<line class="bound" x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{height - 14}" stroke-dasharray="3 3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def used_share(row: Mapping[str, Any]) -> float | None:
    """Return the share of its bound that a row uses (above 1: not reached); None if it has no such bound."""
    value = row["measured"] if row["ratio"] is None else row["ratio"]
    if row.get("at_most"):
        return float(value / row["at_most"])
    if row.get("at_least") and value:
        return float(row["at_least"] / value)
    return None


def shortened(text: str, *, longest: int = 62) -> str:
    """Return a text of at most `longest` characters, which fits beside its bar."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


# -- the arithmetic of a million heartbeats --------------------------------------------------------------------------
def arithmetic(results: Sequence[Result]) -> str:
    """Return what a million heartbeats that ping every minute need, computed from the measured cost of one ping."""
    cost = {row["what"]: row["measured"] for result in results for row in result["rows"]}
    if not cost.keys() >= set(COSTS):
        return "What a ping costs was not measured yet: run `./script/bench pings`.\n"
    web, database, wal, disk = (cost[label] for label in COSTS)
    rate = MILLION / MINUTE
    rows = [
        ("pings", f"1,000,000 / 60 s = {rate:,.0f} a second, {rate * DAY / 1e6:,.0f} million a day"),
        ("web", f"{rate:,.0f} * {web:.0f} µs = {rate * web / 1e6:.1f} cores"),
        ("database", f"{rate:,.0f} * {database:.0f} µs = {rate * database / 1e6:.1f} cores"),
        ("write-ahead log", f"{rate:,.0f} * {wal:,.0f} bytes = {rate * wal / 1e6:.0f} MB/s"),
        ("history", f"{rate:,.0f} * {disk:.0f} bytes * 86,400 s = {rate * disk * DAY / 1e9:.0f} GB for each day kept"),
    ]
    lines = ["| what | needs |", "| --- | --- |", *(f"| {label} | {needs} |" for label, needs in rows)]
    return "\n".join(lines) + "\n"
