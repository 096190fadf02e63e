"""The OpenAPI document is true: requests made from it never end in a 5xx, and the answers have its shapes."""

import gzip
import json
import re
from datetime import timedelta

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from accounts.models.contact_methods import ContactMethod
from accounts.services.api_keys import create_api_key
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_absence, make_rotation

application = get_wsgi_application()
document = OpenApiJsonRenderer().render(SchemaGenerator(api_version="1").get_schema(request=None, public=True))
schema = schemathesis.openapi.from_dict(json.loads(document))
schema.app = application


@pytest.fixture
def connection_stays(db):
    """A request's end would close the connection that holds the test's transaction; Django's own client does the same."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def owner_key(connection_stays):
    """A key of an Owner whose organization has one of each thing."""
    organization = factories.OrganizationFactory()
    owner = factories.UserFactory(organization=organization, roles=["Owner"])
    factories.HeartbeatFactory(organization=organization)
    factories.ApiIntegrationFactory(organization=organization)
    factories.AlertFactory(organization=organization)
    factories.BridgeFactory(organization=organization)
    group = factories.GroupFactory(organization=organization, primary=[owner])
    make_rotation(group, primary=[owner])
    cover = factories.UserFactory(organization=organization)
    make_absence(owner, cover, starts_at=WHEN, ends_at=WHEN + timedelta(days=1))
    factories.PlayFactory(organization=organization)
    return create_api_key(owner, name="walk", now=WHEN)[1]


@schema.parametrize()
@settings(
    max_examples=20 if settings.get_current_profile_name() == "long" else 1,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_made_from_the_document_is_a_fault(case, owner_key):
    # The client that reads answers here does not unpack them.
    response = case.call(headers={"Authorization": f"Bearer {owner_key}", "Accept-Encoding": "identity"})
    case.validate_response(response, checks=[not_a_server_error, response_schema_conformance, content_type_conformance])


@pytest.mark.django_db
def test_the_document_is_made_without_a_warning(client):
    with GENERATOR_STATS.silence():
        SchemaGenerator(api_version="1").get_schema(request=None, public=True)
        assert not GENERATOR_STATS, "\n".join(GENERATOR_STATS._warn_cache | GENERATOR_STATS._error_cache)


def test_the_document_names_what_messages_offer_for_every_channel():
    allowed_actions = json.loads(document)["components"]["schemas"]["AllowedActions"]
    assert list(allowed_actions["properties"]) == ContactMethod.Kind.values


@pytest.mark.django_db
def test_there_is_a_page_to_try_it_that_loads_nothing_from_elsewhere(client):
    response = client.get("/api/v1/docs/", headers={"accept-encoding": "gzip"})
    assert len(response.content) < 60_000
    page = gzip.decompress(response.content).decode()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    for path, calls in json.loads(document)["paths"].items():
        for method in calls:
            assert f"{method.upper()} {path}</span></button>" in page
    names = set(re.findall(r'href="#(schema-[\w.-]+)"', page))
    assert len(names) > 50
    assert names <= set(re.findall(r'id="(schema-[\w.-]+)"', page))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["options", "post", "put", "trace"])
def test_the_page_to_try_it_is_read_and_nothing_else(client, method):
    assert getattr(client, method)("/api/v1/docs/").status_code == 405


@pytest.mark.django_db
def test_an_address_that_does_not_exist_is_a_problem_document_for_scripts_and_a_page_for_people(client):
    script, person = client.get("/api/v1/nothing/"), client.get("/nothing/")
    assert (script.status_code, script["Content-Type"]) == (404, "application/problem+json")
    assert (person.status_code, person["Content-Type"].partition(";")[0]) == (404, "text/html")


def test_its_texts_name_no_file_that_a_reader_of_the_api_cannot_open():
    assert re.findall(r"[\w./-]*(?:docs/|\.md\b|\.py\b)[\w./-]*", document.decode()) == []
