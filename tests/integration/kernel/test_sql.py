import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from heartbeat_project.kernel.sql import array, texts

printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


def read(literal, type_):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{type_}[]", [literal])
        [values] = cursor.fetchone()
    return values


class TestArrays(TestCase):
    @given(st.lists(st.none() | printable | st.sampled_from(["NULL", "null", "{", "}", ",", '"', "\\", " ", ""])))
    def test_texts_arrive_as_they_are(self, values):
        assert read(texts(values), "text") == values

    @given(st.lists(st.integers(-(2**63), 2**63 - 1)))
    def test_numbers_arrive_as_they_are(self, values):
        assert read(array(values), "bigint") == values


@pytest.mark.django_db
def test_lone_names_of_nothing_are_texts():
    assert read(texts(["NULL", None]), "text") == ["NULL", None]
