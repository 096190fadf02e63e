"""A parser of outside input stands in docs/security.md with its bound, or the checks fail."""

import pytest

from script.parsers import APPS, PAGE, ROOT, faults, listed, parsers_in, used


def test_each_parser_is_in_the_table_and_each_row_is_used():
    assert faults(used(), listed(PAGE.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "parsers"),
    [
        ("import re", {"re"}),
        ("import re as regular", {"re"}),
        ("from re import compile as made", {"re"}),
        ("def read():\n    import re", {"re"}),
        ("import importlib\nimportlib.import_module('re')", {"re"}),
        ("__import__('re')", {"re"}),
        ("from django.core.validators import RegexValidator", {"django.core.validators.RegexValidator"}),
        (
            "from django.core import validators\nvalidators.RegexValidator('x')",
            {"django.core.validators.RegexValidator"},
        ),
        ("from django import forms\nforms.RegexField('x')", {"django.forms.RegexField"}),
        ("from django.urls import re_path", {"django.urls.re_path"}),
        ("rows.filter(name__regex=given)", {"re"}),
        ("rows.filter(**{'name__iregex': given})", {"re"}),
        ("import json\njson.loads(body)", {"json.loads"}),
        ("from json import loads as read", {"json.loads"}),
        ("import json\njson.dumps(body)", set()),
        ("from email import message_from_bytes", {"email.message_from_bytes"}),
        ("import email\nemail.message_from_bytes(body)", {"email.message_from_bytes"}),
        ("from email.parser import BytesParser", {"email.parser"}),
        ("from email.message import EmailMessage", set()),
        ("import xml.etree.ElementTree as tree", {"xml.etree"}),
        ("from xml.etree import ElementTree", {"xml.etree"}),
        ("from xml.sax.saxutils import escape", set()),
        ("from html import escape", set()),
        ("from html import unescape", {"html"}),
        ("import urllib.parse\nurllib.parse.urlsplit(url)", {"urllib.parse.urlsplit"}),
        ("from urllib.parse import urlencode", set()),
        ("from struct import *", {"struct.iter_unpack", "struct.unpack", "struct.unpack_from"}),
        ("import zipfile, tarfile, csv", {"csv", "tarfile", "zipfile"}),
        ("from icalendar import Calendar\nfrom dateutil.rrule import rrulestr", {"dateutil", "icalendar"}),
    ],
)
def test_a_parser_is_found_however_it_is_imported(source, parsers):
    assert parsers_in(source) == parsers


def test_a_parser_that_no_row_names_and_a_row_that_no_parser_needs_are_faults():
    row = "## Parsers in the code\n\n| `accounts/a.py` | `re`, `csv` | 10 letters |\n"

    assert faults({"accounts/a.py": {"re", "csv"}}, listed(row)) == []
    assert faults({"accounts/a.py": {"re", "csv"}, "accounts/b.py": {"re"}}, listed(row)) == [
        "accounts/b.py uses re: add it to security.md with the bound of its input."
    ]
    assert faults({"accounts/a.py": {"re"}}, listed(row)) == [
        "accounts/a.py does not use csv any more: remove it from security.md."
    ]


def test_a_row_needs_a_bound():
    with pytest.raises(ValueError, match="has no bound"):
        listed("## Parsers in the code\n\n| `accounts/a.py` | `re` | |\n")


def test_no_statement_of_ours_matches_regular_expressions():
    """What a row holds is somebody's input, and PostgreSQL's expressions explode as Python's do."""
    operators = ("~", "regexp_", "similar to")
    statements = [path for app in APPS for path in (ROOT / app).rglob("*.sql")]
    assert statements
    found = [
        f"{path.name}: {line.strip()}"
        for path in statements
        for line in path.read_text("utf-8").lower().splitlines()
        if any(operator in line.partition("--")[0] for operator in operators)
    ]
    assert found == []
