"""SQL statements that the ORM cannot express well, one per file in `<app>/sql/`, and their array parameters."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import apps


@cache
def statement(app: str, name: str) -> str:
    """Return the text of `<app>/sql/<name>.sql`, without its comment lines.

    They would be sent with each execution, and psycopg keeps no parsed form of a text over 4,096 characters. Raises
    FileNotFoundError when there is no such file.
    """
    text = (Path(apps.get_app_config(app).path) / "sql" / f"{name}.sql").read_text("utf-8")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()


def records(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as the JSON text that PostgreSQL's json_to_recordset takes; times as RFC 3339.

    For a few rows with many fields; for thousands of rows, one `column` per field takes a third of the time.
    """
    return json.dumps(list(rows), default=_as_text, ensure_ascii=False)


def column(values: Iterable[Any]) -> str:
    """Return values as the JSON text that PostgreSQL's json_array_elements_text takes; None as NULL."""
    return json.dumps(list(values), ensure_ascii=False)


def array(numbers: Iterable[int | None]) -> str:
    """Return whole numbers as an array literal; for thousands, the driver's own adapter takes ten times as long."""
    return "{" + ",".join(["NULL" if number is None else str(number) for number in numbers]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Return texts without control characters as an array literal, None as NULL; fast for thousands, like `array`.

    Such texts are escaped alike in JSON strings and in array elements: with a backslash before quotes and backslashes.
    """
    return "{" + json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))[1:-1] + "}"


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
