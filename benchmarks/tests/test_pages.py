"""The benchmark of pages forgets no address, and judges each group by its worst page."""

import pytest
from django.urls import path

from benchmarks import addresses as module
from benchmarks.addresses import addresses
from benchmarks.installation import API_INTEGRATION, EVENTS
from benchmarks.pages import Measured, worst
from heartbeat_project import urls


@pytest.mark.django_db
def test_every_address_is_measured_with_an_example_or_left_out_with_a_reason():
    measured = {address.template: address for address in addresses()}
    assert measured["alerts/<alert_id>/"].path == f"/alerts/{module.LIVE_ALERT}/"
    assert measured["api/v1/groups/<group>/contacts/<pk>/"].path == "/api/v1/groups/9/contacts/200009/"
    assert measured["admin/accounts/user/<object_id>/change/"].path == "/admin/accounts/user/10/change/"
    assert {measured[name].group for name in ("", "alerts/list/", "admin/", "api/v1/alerts/", "readyz")} == {
        "console",
        "lists of Configuration",
        "management API",
        "documents and probes",
    }
    assert not measured.keys() & module.LEFT_OUT.keys()


@pytest.mark.django_db
def test_pages_of_events_are_measured_with_an_integration_that_has_some_and_shared_pages_with_both():
    paths = [address.path for address in addresses()]
    page = "/admin/integrations/inboundintegration"
    assert f"{page}/{API_INTEGRATION}/events/{EVENTS}/replay/" in paths
    assert f"/api/v1/integrations/{API_INTEGRATION}/events/{EVENTS}/" in paths
    assert [f"{page}/{pk}/change/" in paths for pk in (API_INTEGRATION, module.SILENT_HEARTBEAT)] == [True, True]
    assert f"{page}/{module.SILENT_HEARTBEAT}/mapping/" not in paths


@pytest.mark.django_db
def test_a_new_page_without_an_example_is_refused(monkeypatch):
    new = path("bridges/<int:bridge_id>/", str)
    monkeypatch.setattr(
        module, "get_resolver", lambda: type("Resolver", (), {"url_patterns": [*urls.urlpatterns, new]})
    )
    with pytest.raises(SystemExit, match="no example for bridges/<bridge_id>"):
        addresses()


@pytest.mark.django_db
def test_a_name_of_a_page_that_is_gone_is_refused(monkeypatch):
    monkeypatch.setitem(module.LEFT_OUT, "gone/", "it was there once")
    with pytest.raises(SystemExit, match="do not exist: gone/"):
        addresses()


def test_a_group_is_judged_by_its_slowest_and_by_its_largest_page():
    def page(name, milliseconds, kilobytes):
        return Measured(
            path=name,
            group="console",
            milliseconds=milliseconds,
            python=0,
            database=0,
            queries=1,
            kilobytes=kilobytes,
        )

    slow, large = worst([page("/a/", 151, 10), page("/b/", 20, 149)])

    assert (slow["what"], slow["reached"]) == ("console, slowest of 2: `/a/`", False)
    assert (large["what"], large["reached"]) == ("console, largest: `/b/`", True)
