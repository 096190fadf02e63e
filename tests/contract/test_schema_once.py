"""The OpenAPI document is written once, whoever asks how often."""

import json

import pytest
import yaml
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from heartbeat_project import schema

ADDRESS = "/api/v1/schema/"


@pytest.fixture
def written(monkeypatch):
    """Count how often the document is made."""
    found = []
    real = SchemaGenerator.get_schema

    def write(*args, **more):
        found.append(1)
        return real(*args, **more)

    monkeypatch.setattr(SchemaGenerator, "get_schema", write)
    monkeypatch.setattr(schema, "_responses", {})
    return found


def test_the_document_is_written_once_for_each_form(written):
    forms = {
        "application/vnd.oai.openapi": yaml.safe_load,
        "application/vnd.oai.openapi+json": json.loads,
        "*/*": yaml.safe_load,
    }
    documents = []
    for accepted, read in [*forms.items(), *forms.items()]:
        response = Client().get(ADDRESS, headers={"accept": accepted})
        assert response.status_code == 200
        assert response["Content-Type"].startswith(accepted.strip("*/"))
        documents.append(read(response.content))
    assert len(written) == 2
    assert all(document == documents[0] for document in documents)
    assert "/api/v1/alerts/" in documents[0]["paths"]
    assert ADDRESS not in documents[0]["paths"]


def test_no_query_makes_it_anew_or_another_one(written):
    plain = Client().get(ADDRESS).content
    schema._responses.clear()
    answers = [Client().get(f"{ADDRESS}?format=json") for _ in range(3)]
    assert len(written) == 2
    assert {answer.status_code for answer in answers} == {200}
    assert json.loads(answers[0].content) == yaml.safe_load(plain)
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize("query", ["lang=de", "version=2", "x=1", "format=yaml&lang=xx", "format=json&format=yaml"])
def test_other_parameters_are_refused_and_do_not_change_what_others_get(written, query):
    answer = Client().get(f"{ADDRESS}?{query}")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["code"] == "invalid"
    assert written == []
