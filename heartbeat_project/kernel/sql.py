"""Statements that the ORM cannot say well, kept one to a file in `<app>/sql/`."""

from functools import cache
from pathlib import Path

from django.apps import apps


@cache
def statement(app: str, name: str) -> str:
    """Return the text of `<app>/sql/<name>.sql`, without its comment lines.

    Raises FileNotFoundError when there is no such file.
    """
    text = (Path(apps.get_app_config(app).path) / "sql" / f"{name}.sql").read_text("utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
