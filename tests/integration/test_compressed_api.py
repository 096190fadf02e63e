"""Long answers of the API are compressed for clients that accept it, and nothing else is."""

import gzip
import json

import pytest

from tests import factories

pytestmark = pytest.mark.django_db
ACCEPTING = {"HTTP_ACCEPT_ENCODING": "gzip, deflate"}


def test_a_list_is_compressed_if_the_client_accepts_it(organization, client_for):
    api = client_for(factories.UserFactory(organization=organization, roles=["Owner"]))
    for number in range(20):
        factories.GroupFactory(organization=organization, name=f"Group {number}")

    compressed, plain = api.get("/api/v1/groups/", **ACCEPTING), api.get("/api/v1/groups/")

    assert compressed["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in compressed["Vary"]
    assert len(compressed.content) < len(plain.content) / 3
    assert json.loads(gzip.decompress(compressed.content)) == plain.json()
    assert not plain.has_header("Content-Encoding")


def test_an_object_keeps_its_strong_etag_and_a_page_is_not_compressed(organization, client_for, client):
    owner = factories.UserFactory(organization=organization, roles=["Owner"])
    group = factories.GroupFactory(organization=organization, description="x" * 1_000)
    answer = client_for(owner).get(f"/api/v1/groups/{group.pk}/", **ACCEPTING)
    assert not answer.has_header("Content-Encoding")
    assert not answer["ETag"].startswith("W/")
    client.force_login(owner)
    assert not client.get("/alerts/", **ACCEPTING).has_header("Content-Encoding")
    schema = client.get("/api/v1/schema/", **ACCEPTING)
    assert schema["Content-Encoding"] == "gzip"
    assert len(schema.content) < 60_000
