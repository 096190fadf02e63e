"""Checks that docs/security.md lists each module that uses a parser, with the bound of its input.

python -m script.parsers
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
APPS: Final = ("accounts", "alerting", "embedded", "escalation", "heartbeat_project", "integrations")
PAGE: Final = ROOT / "docs" / "security.md"
HEADING: Final = "## Parsers in the code"

# Modules that count as parsers as a whole.
MODULES: Final = frozenset(
    {"ast", "bz2", "configparser", "csv", "dateutil", "gzip", "html", "http.cookies", "icalendar", "lzma", "marshal"}
    | {"brotli", "jinja2", "mimetypes", "phonenumbers", "pickle", "plistlib", "quopri", "re", "re2", "regex"}
    | {"recurring_ical_events", "shelve", "shlex", "tarfile", "tomllib", "yaml", "zipfile", "zlib", "zstandard"}
    | {"apprise", "cryptography.x509"}
    | {"email.parser", "email.headerregistry", "xml.dom", "xml.etree", "xml.parsers", "xml.sax", "lxml", "defusedxml"}
)
# Functions and classes that parse, of modules whose other parts write or have bounded input.
FUNCTIONS: Final = frozenset(
    {
        *("json.load", "json.loads", "json.JSONDecoder", "struct.unpack", "struct.unpack_from", "struct.iter_unpack"),
        *("email.message_from_bytes", "email.message_from_string", "email.message_from_file"),
        *("email.message_from_binary_file", "email.utils.parseaddr", "email.utils.getaddresses"),
        *("email.utils.parsedate_to_datetime", "email.header.decode_header"),
        *("urllib.parse.urlsplit", "urllib.parse.urlparse", "urllib.parse.parse_qs", "urllib.parse.parse_qsl"),
        *("urllib.parse.unquote", "urllib.parse.unquote_plus", "urllib.parse.unquote_to_bytes"),
        *("http.client.HTTPConnection", "http.client.HTTPSConnection", "urllib.request.urlopen"),
        *("httpcore.ConnectionPool", "smtplib.SMTP", "smtplib.SMTP_SSL"),
        # Regular expressions under other names.
        *("django.urls.re_path", "django.core.validators.RegexValidator", "django.forms.RegexField"),
        *("rest_framework.serializers.RegexField", "django.utils.html.strip_tags", "django.utils.html.urlize"),
    }
)
# Parts of the modules above that only write.
WRITERS: Final = frozenset({"xml.sax.saxutils", "html.escape"})
LOOK_UPS: Final = ("__regex", "__iregex")


def parsers_in(source: str) -> set[str]:
    """Return the parsers that a module's source uses, with the names of the page's table."""
    names: dict[str, str] = {}
    parsers: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        for name, full in _imported(node):
            names[name] = full
            parsers |= _parsers_of(full)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (full := _full_name(node, names)):
            parsers |= _parsers_of(full)
        elif isinstance(node, ast.Call) and _full_name(node.func, names) in {"importlib.import_module", "__import__"}:
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    parsers |= _parsers_of(argument.value)
        elif _is_look_up(node):
            parsers.add("re")  # PostgreSQL's regular expressions, used by a lookup of the ORM
    return parsers


def used(root: Path = ROOT) -> dict[str, set[str]]:
    """Return the parsers of each of our modules that uses any, by path."""
    parsers_by_path: dict[str, set[str]] = {}
    for app in APPS:
        for path in sorted((root / app).rglob("*.py")):
            if "migrations" not in path.parts and (parsers := parsers_in(path.read_text("utf-8"))):
                parsers_by_path[str(path.relative_to(root))] = parsers
    return parsers_by_path


def listed(page: str) -> dict[str, set[str]]:
    """Return the parsers that the page's table allows in each module. Raises ValueError if a row has no bound."""
    parsers_by_path: dict[str, set[str]] = {}
    section = page.partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("| `"):
            continue
        if len(cells) != 3 or not cells[2]:
            raise ValueError(f"This row has no bound: {line}")
        parsers = {parser.strip("` ") for parser in cells[1].split(",")}
        for module in cells[0].split(","):
            parsers_by_path.setdefault(module.strip("` "), set()).update(parsers)
    return parsers_by_path


def faults(actual: Mapping[str, set[str]], allowed: Mapping[str, set[str]]) -> list[str]:
    """Return a line for each parser that the table does not list, and for each that is listed but not used."""
    lines = []
    for path in sorted({*actual, *allowed}):
        is_new = sorted(actual.get(path, set()) - allowed.get(path, set()))
        is_gone = sorted(allowed.get(path, set()) - actual.get(path, set()))
        lines += [f"{path} uses {parser}: add it to {PAGE.name} with the bound of its input." for parser in is_new]
        lines += [f"{path} does not use {parser} any more: remove it from {PAGE.name}." for parser in is_gone]
    return lines


def main() -> int:
    """Print the faults and return an exit code."""
    lines = faults(used(), listed(PAGE.read_text("utf-8")))
    print(*lines, sep="\n")
    return 1 if lines else 0


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, each with its full dotted name."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
            if not alias.asname:
                yield alias.name, alias.name
    elif isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _parsers_of(full: str) -> set[str]:
    """Return the parsers that a full dotted name refers to: usually one or none."""
    parts = full.split(".")
    prefixes = {".".join(parts[: end + 1]) for end in range(len(parts))}
    if prefixes & WRITERS:
        return set()
    if full.endswith(".*"):
        return {name for name in MODULES | FUNCTIONS if name.startswith(full[:-1])} | (prefixes & MODULES)
    return prefixes & (MODULES | FUNCTIONS)


def _full_name(node: ast.AST, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id if node.id == "__import__" else "")
    if isinstance(node, ast.Attribute) and (owner := _full_name(node.value, names)):
        return f"{owner}.{node.attr}"
    return ""


def _is_look_up(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return bool(node.arg and node.arg.endswith(LOOK_UPS))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(LOOK_UPS)


if __name__ == "__main__":
    sys.exit(main())
