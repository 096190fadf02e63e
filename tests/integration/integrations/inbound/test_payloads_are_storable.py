"""PostgreSQL takes what decode() returns, whatever came in, and gives it back unchanged."""

import json

import pytest
from django.db import connection

from integrations.inbound.content_encodings import MAX_BYTES
from integrations.inbound.decoding import decode
from tests.unit.integrations.inbound.hostile import SIZED, bodies

pytestmark = pytest.mark.django_db


# Those that differ in what is stored: many keys, texts, letters that are replaced, numbers that are text.
LARGE = ["many keys", "other strings", "escapes", "huge numbers", "bytes of no encoding"]


def stored(values):
    """Return the values as they come back from a jsonb column."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE kept (position int, payload jsonb) ON COMMIT DROP")
        rows = [(position, json.dumps(value)) for position, value in enumerate(values)]
        cursor.executemany("INSERT INTO kept VALUES (%s, %s::jsonb)", rows)
        cursor.execute("SELECT payload::text FROM kept ORDER BY position")
        return [text for (text,) in cursor.fetchall()]


def check(values):
    for value, text in zip(values, stored(values), strict=True):
        # jsonb writes 1e29 with all its digits, which is another number as an integer, and the same as a float.
        assert json.loads(text, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
        assert len(text) < 8 * MAX_BYTES


def test_hostile_bodies_come_back_as_they_were_stored():
    check([decode(body, headers=headers, query={}).payload for body, headers in bodies(seed=3, count=2_000)])


def test_the_largest_bodies_can_be_stored():
    check([decode(SIZED[name](), headers={}, query={}).payload for name in LARGE])


@pytest.mark.parametrize(
    "text", ["1e29", "1e308", "-1.7976931348623157e308", "5e-324", "1" * 300, "-0.0", '"' + "v" * 70_000 + '"', "NaN"]
)
def test_numbers_and_long_keys_come_back(text):
    body = f'{{"n": {text}, {json.dumps("k" * 70_000)}: 1}}'.encode()
    check([decode(body, headers={}, query={}).payload])
