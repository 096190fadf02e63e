"""No module leads back to itself by its imports, those within functions included."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("accounts", "alerting", "embedded", "escalation", "heartbeat_project", "integrations")


def modules(root: Path) -> dict[str, str]:
    """Return the source of each of our modules by its name, migrations apart."""
    sources = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if "migrations" not in parts:
                sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return sources


def imports(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each module which of the others it imports, wherever in its source."""
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        found = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} has a relative import"
                for alias in node.names:
                    module = f"{node.module}.{alias.name}"
                    found.add(module if module in sources else str(node.module))
        graph[name] = (found & sources.keys()) - {name}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Yield the modules that lead back to themselves, those together that lead to each other."""
    reached = {name: _reached_from(name, graph) for name in graph}
    left = {name for name in graph if name in reached[name]}
    while left:
        name = min(left)
        together = {other for other in reached[name] if name in reached[other]}
        left -= together
        yield sorted(together)


def _reached_from(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        other = waiting.pop()
        if other not in reached:
            reached.add(other)
            waiting += graph[other]
    return reached


def test_no_module_leads_back_to_itself_by_its_imports():
    assert list(cycles(imports(modules(ROOT)))) == []


def test_a_cycle_is_found_also_where_it_goes_through_a_function_and_a_third_module():
    sources = {
        "accounts.a": "from accounts import b",
        "accounts.b": "def late():\n    from accounts.c import thing",
        "accounts.c": "import accounts.a",
        "accounts.d": "from accounts.a import b",
    }
    assert list(cycles(imports(sources))) == [["accounts.a", "accounts.b", "accounts.c"]]
