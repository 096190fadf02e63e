"""What was measured, as pages and a chart: everything that stands between marks in docs/ is written here."""

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
# One person's job that pings each minute, a million times over.
MILLION, MINUTE, DAY = 1_000_000, 60, 86_400
COSTS = (
    "processor time of one ping, web process",
    "processor time of one ping, database",
    "write-ahead log of one ping",
    "history of one ping, row and index",
)


def write_report(names: Sequence[str]) -> None:
    """Bring the pages and the chart in docs/ up to date with the results."""
    for path, text in pages(read_results(names)).items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


def read_results(names: Sequence[str]) -> list[Result]:
    """Return what was kept of these benchmarks, in their order, and of others behind them."""
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    return [kept[name] for name in [*(name for name in names if name in kept), *(kept.keys() - set(names))]]


def pages(results: Sequence[Result]) -> dict[Path, str]:
    """Return what the pages and the chart must say."""
    performance, scaling = DOCS / "performance.md", DOCS / "scaling.md"
    return {
        performance: between_marks(performance.read_text(), "measured", tables(results)),
        scaling: between_marks(scaling.read_text(), "arithmetic", arithmetic(results)),
        DOCS / "performance.svg": chart(results),
    }


def between_marks(page: str, name: str, text: str) -> str:
    """Return the page with what stands between its two marks of this name replaced."""
    begin, end = f"<!-- {name}: written by script/bench --report -->", f"<!-- /{name} -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    written, count = pattern.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"The page needs the marks {begin} and {end}, once.")
    return written


def tables(results: Sequence[Result]) -> str:
    """Return a table for each benchmark, and the machines that measured."""
    parts = []
    for result in results:
        lines = [f"### `{result['benchmark']}`", "", "| what | measured | reference | ratio | must | |"]
        lines.append("| --- | ---: | ---: | ---: | --- | --- |")
        for row in result["rows"]:
            verdict = "" if not row["must"] else "reached" if row["reached"] else "**not reached**"
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


def machine_in_words(machine: Mapping[str, Any]) -> str:
    """Return one sentence about where a benchmark ran."""
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
FULL = (WIDTH - LEFT - 70) / 1.25  # so many pixels are the whole of what is allowed; longer bars end at 125 %


def chart(results: Sequence[Result]) -> str:
    """Return an SVG that shows of each bound how much is used; it is readable on light and on dark pages."""
    bars = [(row, share) for result in results for row in result["rows"] if (share := used(row)) is not None]
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


def used(row: Mapping[str, Any]) -> float | None:
    """Return which share of its bound a row uses (above 1: not reached), or None where that says nothing."""
    judged = row["measured"] if row["ratio"] is None else row["ratio"]
    if row.get("at_most"):
        return float(judged / row["at_most"])
    if row.get("at_least") and judged:
        return float(row["at_least"] / judged)
    return None


def shortened(text: str, *, longest: int = 62) -> str:
    """Return a text that fits beside its bar."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


# -- the arithmetic of a million heartbeats --------------------------------------------------------------------------
def arithmetic(results: Sequence[Result]) -> str:
    """Return what a million heartbeats that ping each minute need, by what one ping was measured to cost."""
    cost = {row["what"]: row["measured"] for result in results for row in result["rows"]}
    if not cost.keys() >= set(COSTS):
        return "What a ping costs was not measured yet: run `./script/bench pings`.\n"
    web, database, wal, kept = (cost[what] for what in COSTS)
    rate = MILLION / MINUTE
    rows = [
        ("pings", f"1,000,000 / 60 s = {rate:,.0f} a second, {rate * DAY / 1e6:,.0f} million a day"),
        ("web", f"{rate:,.0f} * {web:.0f} µs = {rate * web / 1e6:.1f} cores"),
        ("database", f"{rate:,.0f} * {database:.0f} µs = {rate * database / 1e6:.1f} cores"),
        ("write-ahead log", f"{rate:,.0f} * {wal:,.0f} bytes = {rate * wal / 1e6:.0f} MB/s"),
        ("history", f"{rate:,.0f} * {kept:.0f} bytes * 86,400 s = {rate * kept * DAY / 1e9:.0f} GB for each day kept"),
    ]
    lines = ["| what | needs |", "| --- | --- |", *(f"| {what} | {needs} |" for what, needs in rows)]
    return "\n".join(lines) + "\n"
