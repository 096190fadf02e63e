"""The audit log as a page: who, what and when, from the page of each object, and as a file."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from accounts.models.audit import AuditEntry
from accounts.models.organizations import Organization
from accounts.services.groups import Member, update_group
from accounts.services.users import update_user
from heartbeat_project.console.audit_texts import KINDS, differences
from heartbeat_project.console.views import audit_log
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.admin.conftest import make_tenant
from tests.integration.audit.conftest import Log
from tests.integration.audit.test_every_way_in import RAW

pytestmark = pytest.mark.django_db


@pytest.fixture
def here(now):
    return make_tenant(now)


@pytest.fixture
def browser(client, here):
    client.force_login(here.people["Owner"])
    return client


def entry(here, **fields):
    """Write an entry that stands above all others."""
    at = clock.now() + timedelta(hours=1 + AuditEntry.objects.count())
    given = {"via": "page", "object_type": "group", "action": "changed", "at": at} | fields
    return AuditEntry.objects.create(organization=here.organization, **given)


def test_it_says_who_changed_what_and_how(browser, here):
    owner = here.people["Owner"]
    bridge = here.objects["alerting_bridge"]
    browser.post(
        f"/admin/alerting/bridge/{bridge.pk}/change/",
        {"name": "Ops line", "phone_number": "+49 30 7654321", "access_code": "", "meeting_url": ""},
        REMOTE_ADDR="192.0.2.4",
    )
    page = browser.get("/audit-log/").content.decode()
    first = page.split(">Entries</h2>")[1].split("<li>")[1]
    assert "Bridge Ops line" in first
    assert f"{owner.name} on a page from 192.0.2.4" in first
    assert "<dt>Phone number:</dt><dd><del>+49 30 1234567</del> → <ins>+49 30 7654321</ins></dd>" in first


def test_the_filters(browser, here):
    owner, other = here.people["Owner"], here.people["Basic"]
    mine = entry(here, actor=owner, object_name="of the owner")
    theirs = entry(here, actor=other, object_type="role", object_id=77, object_name="of another")

    def shown(**query):
        page = browser.get("/audit-log/", query)
        assert page.status_code == 200
        names = {found.object_name for found, _, _ in page.context["rows"]}
        return names & {"of the owner", "of another"}

    assert shown() == {"of the owner", "of another"}
    assert shown(actor=owner.pk) == {"of the owner"}
    assert shown(object_type="role") == {"of another"}
    assert shown(object_type="role", object_id=77) == {"of another"}
    assert shown(object_type="role", object_id=78) == set()
    assert shown(since=f"{theirs.at:%Y-%m-%d}", until=f"{theirs.at:%Y-%m-%d}") >= {"of another"}
    assert shown(until=f"{mine.at - timedelta(days=1):%Y-%m-%d}") == set()


@pytest.mark.parametrize(
    "query", ["actor=0", "object_type=x", "object_id=x", "since=yesterday", "until=9999-12-31", "older=x"]
)
def test_a_filter_that_cannot_be_is_reported(browser, query):
    for address in ("/audit-log/", "/audit-log/csv/"):
        assert browser.get(f"{address}?{query}").status_code == 400


def test_older_entries_are_on_further_pages_each_of_them_once(browser, here, monkeypatch):
    monkeypatch.setattr(audit_log, "PAGE_SIZE", 7)
    at = clock.now() + timedelta(days=1)
    for _ in range(10):
        entry(here, at=at)  # all of one time
    seen, older = [], ""
    while older is not None:
        page = browser.get("/audit-log/", {"older": older} if older else {})
        seen += [found.pk for found, _, _ in page.context["rows"]]
        older = page.context["older"]
    expected = AuditEntry.objects.filter(organization=here.organization).order_by("-at", "-id")
    assert seen == list(expected.values_list("id", flat=True))


@pytest.mark.parametrize(("role", "status"), [("App Admin", 200), ("System Viewer", 200), ("Integrations Admin", 403)])
def test_it_needs_the_right(client, here, role, status):
    client.force_login(here.people[role])
    for address in ("/audit-log/", "/audit-log/csv/"):
        assert client.get(address).status_code == status
    assert ("/audit-log/" in client.get("/alerts/", follow=True).content.decode()) == (role == "System Viewer")


def test_nobody_sees_that_of_another_organization(browser, here):
    stranger = factories.UserFactory(name="Stranger")
    theirs = AuditEntry.objects.filter(organization=stranger.organization).latest("id")
    assert "Stranger" not in browser.get("/audit-log/").content.decode()
    assert browser.get("/audit-log/", {"older": theirs.pk}).context["rows"] == []
    assert browser.get("/audit-log/", {"actor": stranger.pk}).status_code == 400


@pytest.mark.parametrize(
    ("table", "object_type"),
    [
        ("integrations_inboundintegration", "integration"),
        ("integrations_maintenancewindow", "maintenance_window"),
        ("escalation_escalationpolicy", "escalation_policy"),
        ("escalation_responseplay", "response_play"),
        ("alerting_bridge", "bridge"),
        ("accounts_organization", "organization"),
        ("accounts_user", "user"),
        ("accounts_group", "group"),
        ("escalation_shift", "shift"),
        ("escalation_outofoffice", "out_of_office"),
        ("accounts_role", "role"),
        ("accounts_apikey", "api_key"),
    ],
)
def test_each_object_leads_to_its_own_entries(browser, client, here, table, object_type):
    row = here.objects[table]
    app, _, model = table.partition("_")
    query = f"object_type={object_type}&amp;object_id={row.pk}"
    page = f"/admin/{app}/{model}/{row.pk}/change/"

    assert f'href="/audit-log/?{query}"' in browser.get(page).content.decode()

    found = [entry for entry, _, _ in browser.get(f"/audit-log/?{query.replace('amp;', '')}").context["rows"]]
    assert found
    assert {(entry.object_type, entry.object_id) for entry in found} == {(object_type, row.pk)}
    client.force_login(here.people["Integrations Admin"])
    assert "/audit-log/" not in client.get(page).content.decode()


def test_the_pages_of_the_console_lead_to_it_as_well(browser, here):
    owner = here.people["Owner"]
    integration, group = here.objects["integrations_inboundintegration"], here.objects["accounts_group"]
    method = owner.contact_methods.get()
    alert = factories.AlertFactory(organization=here.organization)
    for address, object_type, pk in (
        (f"/heartbeats/{integration.pk}/", "integration", integration.pk),
        (f"/groups/{group.pk}/", "group", group.pk),
        (f"/profile/contact-methods/{method.pk}/", "contact_method", method.pk),
        (f"/alerts/{alert.pk}/", "alert", alert.pk),
    ):
        page = browser.get(address).content.decode()
        assert f'href="/audit-log/?object_type={object_type}&amp;object_id={pk}"' in page
    assert 'href="/audit-log/"' in browser.get("/admin/").content.decode()


def lines(here, before, after, **fields):
    """Write an entry; return what the page says about its changes."""
    reader = here.people["Owner"]
    (changes,) = differences([entry(here, before=before, after=after, **fields)], reader=reader)
    return [str(change) for change in changes]


def test_roles_and_members_read_like_sentences_with_names(browser, here, now):
    owner, basic = here.people["Owner"], here.people["Basic"]
    roles = here.organization.roles
    group = here.objects["accounts_group"]
    update_user(basic, actor=owner, now=now, roles=list(roles.filter(name__in=["Basic", "App Admin"])))
    update_group(group, actor=owner, now=now, members=[Member(user=basic.pk), Member(user=owner.pk, role="manager")])

    page = browser.get("/audit-log/").content.decode()

    found = re.findall(r"<dt>(?:Roles|Members):</dt><dd>.*?</dd>", page)
    assert strip_tags(found[0]) == f"Members:{basic.name} (primary) → {basic.name} (primary), {owner.name} (manager)"
    assert strip_tags(found[1]) == "Roles:Basic → Basic, App Admin"


def test_what_is_gone_is_named_by_its_id_and_so_is_what_belongs_to_others(here):
    theirs = factories.GroupFactory()
    policy = here.objects["escalation_escalationpolicy"]
    assert lines(here, {"roles": [], "escalation_policy": policy.pk}, {"roles": [999], "escalation_policy": 888}) == [
        f"Escalation policy: {policy.name} -> (deleted) 888",
        "Roles: none -> (deleted) 999",
    ]
    assert lines(here, None, {"group": theirs.pk}) == [f"Group: - -> (deleted) {theirs.pk}"]


def test_numbers_that_are_no_ids_and_roles_that_are_no_objects_stay(here):
    before = {"roles": [{"role": "manager", "position": 0, "wait_minutes": 5, "contact_labels": []}], "repeats": 1}
    after = {"roles": [], "repeats": 2}
    assert lines(here, before, after, object_type="escalation_policy") == [
        "Repeats: 1 -> 2",
        "Roles: manager (wait minutes 5) -> none",
    ]
    assert lines(here, {"enabled": True}, {"enabled": False}) == ["Enabled: yes -> no"]


def test_who_is_in_a_play_is_said_with_the_minutes_of_the_tier(here):
    ana = here.people["Owner"]
    row = {"user": ana.pk, "playtier": 77, "offset_minutes": 5}
    assert lines(here, {"tier_users": []}, {"tier_users": [row]}) == [
        f"Tier users: none -> {ana.name} (offset minutes 5)"
    ]


def test_an_entry_of_one_row_as_earlier_versions_wrote_them_has_names_too(here):
    role = here.organization.roles.get(name="Basic")
    assert lines(here, {"roles": None}, {"roles": {"role": role.pk}}) == ["Roles: - -> Basic"]


def test_of_a_long_list_only_what_differs_is_shown(here):
    integrations = [
        factories.HeartbeatFactory(organization=here.organization, name=f"Nightly backup number {number}")
        for number in range(12)
    ]
    ids = [integration.pk for integration in integrations]
    assert lines(here, {"integrations": ids[:11]}, {"integrations": ids[1:]}) == [
        "Integrations: Nightly backup number 0, … -> Nightly backup number 11, …"
    ]


def test_every_id_in_an_entry_is_known_as_one():
    """A new foreign key of a configured table needs a line in KINDS, or its entries would show a number."""
    tables = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    shown = set(RAW) - {"integrations_heartbeat"}
    keys = {
        field.name: field.related_model
        for table in shown
        for field in tables[table]._meta.concrete_fields
        if field.is_relation and field.related_model is not Organization
    }
    wholes = {"policy", "play", "playtier", "shift", "maintenancewindow"}  # the object of the entry itself
    assert {name: KINDS.get(name) for name in keys if name not in wholes} == {
        name: model for name, model in keys.items() if name not in wholes
    }


@pytest.mark.parametrize("address", ["/audit-log/", "/audit-log/csv/"])
def test_names_cost_one_query_for_each_kind_however_many_entries_there_are(browser, here, address):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(address).status_code == 200
        return len(captured)

    owner, group = here.people["Owner"], here.objects["accounts_group"]
    everything = {"user": owner.pk, "group": group.pk, "roles": [1, 2], "bridge": 5, "integrations": [1], "cover": 9}
    more = {"escalation_policy": 3, "response_play": 4}
    entry(here, after=everything | more)
    few = queries()
    for number in range(40):
        entry(here, after=everything | {"user": number, "roles": [number, number + 1]})
    assert queries() == few


class TestFile:
    def rows(self, browser, query=""):
        answer = browser.get(f"/audit-log/csv/?{query}")
        assert answer.status_code == 200
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert answer["Content-Disposition"] == 'attachment; filename="audit-log.csv"'
        return list(csv.DictReader(io.StringIO(answer.content.decode())))

    def test_it_has_what_the_filters_find(self, browser, here):
        owner = here.people["Owner"]
        made = entry(here, actor=owner, actor_name="Ana", object_id=5, object_name="Team", after={"name": "Ö"})
        (row,) = self.rows(browser, f"object_type=group&object_id=5&actor={owner.pk}")
        assert row == {
            "id": str(made.pk),
            "at": made.at.isoformat(),
            "actor": str(owner.pk),
            "actor_name": "Ana",
            "via": "page",
            "address": "",
            "object_type": "group",
            "object_id": "5",
            "object_name": "Team",
            "action": "changed",
            "before": "",
            "after": '{"name": "Ö"}',
            "changes": "Name: - -> Ö",
        }
        assert len(self.rows(browser)) >= 20

    def test_that_it_was_taken_is_an_entry(self, browser, here):
        log = Log(here.organization)
        count = len(self.rows(browser, "object_type=bridge"))
        (taken,) = log.new()
        assert (taken.action, taken.object_type, taken.actor_id) == ("exported", "audit_log", here.people["Owner"].pk)
        assert taken.after == {"entries": count, "filters": {"object_type": "bridge"}}

    def test_no_text_is_a_formula(self, browser, here):
        entry(here, object_id=5, object_name="=1+1")
        (row,) = self.rows(browser, "object_type=group&object_id=5")
        assert row["object_name"] == "'=1+1"

    def test_a_file_that_would_be_too_long_is_refused_and_says_what_to_do(self, browser, here, monkeypatch):
        monkeypatch.setattr(audit_log, "MAX_CSV_ROWS", 3)
        log = Log(here.organization)
        answer = browser.get("/audit-log/csv/")
        assert answer.status_code == 400
        assert "Choose fewer days" in answer.content.decode()
        assert log.new() == []
