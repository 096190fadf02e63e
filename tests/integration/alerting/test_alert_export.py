"""`alerts/export/`: which alerts and columns it has, in both formats, and that it reads page by page."""

import csv
import io
import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from accounts.models.audit import AuditEntry
from accounts.request_queue import QUEUE
from alerting.services import alerts as services
from heartbeat_project.api import alert_export
from heartbeat_project.api.alert_export import AlertExport
from tests import factories
from tests.integration.escalation.posting import draft, opened, page

pytestmark = pytest.mark.django_db
EXPORT = "/api/v1/alerts/export/"
COLUMNS = [
    "id", "created_by", "priority", "integration", "escalation_policy", "response_play", "subject", "source",
    "source_name", "source_id", "status", "owner", "opened_at", "assigned_at", "closed_at", "minutes_to_assign",
    "minutes_to_resolve", "close_reason",
]  # fmt: skip


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana", roles=["App Admin"])


@pytest.fixture
def api(ana, client_for):
    return client_for(ana)


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(alert_export, "IDS_OF_A_PAGE", 3)


def as_csv(answer):
    assert answer.status_code == 200, answer.content
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode(), newline="")))


def as_json(answer):
    assert answer.status_code == 200, answer.content
    return json.loads(answer.getvalue())


def test_both_formats_have_the_columns_of_the_contract_and_the_values_of_the_api(api, organization, ana, now):
    policy = factories.PolicyFactory(organization=organization)
    alert = page(organization, name="Büro, “backup”", policy=policy, users=[ana], integration_id=7, now=now)
    services.assign(alert, actor=ana, to=ana, now=now + timedelta(minutes=2))
    services.close(alert, actor=ana, reason="done;\nreally", now=now + timedelta(minutes=90))
    shown = api.get(f"/api/v1/alerts/{alert.pk}/").json()

    (row,) = as_json(api.get(f"{EXPORT}?format=json"))
    assert row == {name: shown[name] for name in COLUMNS}
    assert list(row) == COLUMNS
    assert (row["minutes_to_assign"], row["minutes_to_resolve"], row["escalation_policy"]) == (2.0, 90.0, policy.pk)

    (line,) = as_csv(api.get(f"{EXPORT}?format=csv"))
    assert list(line) == COLUMNS
    assert line == {name: "" if value is None else str(value) for name, value in row.items()}


def test_it_stands_in_the_audit_log_with_its_filters_and_a_refused_one_does_not(api, organization, ana):
    assert api.get(f"{EXPORT}?format=json&priority=high").status_code == 200
    assert api.get(f"{EXPORT}?format=xml").status_code == 400

    (entry,) = AuditEntry.objects.filter(action="exported")
    assert (entry.organization_id, entry.object_type, entry.via) == (organization.pk, "alert", "key")
    assert entry.after == {"format": "json", "priority": "high"}


def test_it_is_a_file_with_a_type_of_its_own_whatever_accept_says(api, organization):
    factories.AlertFactory(organization=organization)
    for file_format, kind in (("csv", "text/csv; charset=utf-8; header=present"), ("json", "application/json")):
        for accept in ("*/*", "text/csv", "application/json", "text/html"):
            answer = api.get(f"{EXPORT}?format={file_format}", headers={"accept": accept})
            assert (answer.status_code, answer["Content-Type"]) == (200, kind)
            assert answer["Content-Disposition"].startswith('attachment; filename="alerts-')
            assert answer["Content-Disposition"].endswith(f'.{file_format}"')
    assert as_csv(api.get(EXPORT))  # CSV is the default
    answer = api.get(f"{EXPORT}?format=xml", headers={"accept": "text/csv"})
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["errors"][0]["pointer"] == "/format"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_text_that_a_spreadsheet_takes_for_a_formula_is_made_harmless(api, organization, first):
    given = f"{first}cmd|' /C calc'!A0"
    factories.AlertFactory(organization=organization, subject=given, source_name=f"a{first}", source_id=given)
    (line,) = as_csv(api.get(f"{EXPORT}?format=csv"))
    assert (line["subject"], line["source_id"], line["source_name"]) == (f"'{given}", f"'{given}", f"a{first}")
    (row,) = as_json(api.get(f"{EXPORT}?format=json"))
    assert row["subject"] == given


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_every_alert_is_in_it_once_newest_first_however_the_pages_fall(api, organization, now, count):
    factories.AlertFactory()  # of another organization
    alerts = opened([draft(organization, str(number)) for number in range(count)], now=now)
    newest_first = [alert.pk for alert in reversed(alerts)]
    assert [row["id"] for row in as_json(api.get(f"{EXPORT}?format=json"))] == newest_first
    answer = api.get(f"{EXPORT}?format=csv")
    text = answer.getvalue().decode()
    assert text.count("created_by") == 1
    assert [line["id"] for line in csv.DictReader(io.StringIO(text))] == [str(pk) for pk in newest_first]


@pytest.mark.usefixtures("small_pages")
def test_it_takes_the_filters_of_the_list_also_where_whole_pages_do_not_match(api, organization, ana, now):
    names = [str(number) for number in range(10)]
    drafts = [draft(organization, name)._replace(priority="low" if int(name) % 4 else "high") for name in names]
    alerts = opened(drafts, now=now)
    services.close(alerts[0], actor=ana, now=now)
    for query in (
        "priority=high",
        "status=closed",
        "search=7",
        "priority=medium",
        f"opened_after={now:%Y-%m-%dT%H:%MZ}",
    ):
        listed = [row["id"] for row in api.get(f"/api/v1/alerts/?{query}").json()["results"]]
        assert [row["id"] for row in as_json(api.get(f"{EXPORT}?format=json&{query}"))] == listed, query
    assert api.get(f"{EXPORT}?status=nonsense").json()["errors"][0]["pointer"] == "/status"
    assert api.get(f"{EXPORT}?cursor=x").json()["errors"][0]["code"] == "unknown_parameter"


def test_it_holds_what_the_user_may_see_and_is_refused_to_whoever_may_see_nothing(organization, client_for, now):
    basic = factories.UserFactory(organization=organization)
    own, _ = opened([draft(organization, "own", user_ids=[basic.pk]), draft(organization, "other")], now=now)
    assert [row["id"] for row in as_json(client_for(basic).get(f"{EXPORT}?format=json"))] == [own.pk]
    billing = factories.UserFactory(organization=organization, roles=["Billing Admin"])
    assert client_for(billing).get(EXPORT).status_code == 403


def test_each_page_is_one_statement_after_a_first_look_and_is_read_when_the_one_before_was_taken(
    organization, ana, now, small_pages
):
    opened([draft(organization, str(number)) for number in range(10)], now=now)
    export = AlertExport(ana, Q(), file_format="csv")
    ana.roles.all()

    async def take_slowly():
        # The connection belongs to the thread of the statements.
        return [await sync_to_async(len)(queries) async for _ in export.sent_parts()]

    with CaptureQueriesContext(connection) as queries:
        numbers = async_to_sync(take_slowly)()
    assert numbers == [2, 3, 4, 5]


@pytest.mark.usefixtures("small_pages")
def test_alerts_that_open_or_close_meanwhile_are_neither_doubled_nor_left_out(organization, ana, now):
    alerts = opened([draft(organization, str(number)) for number in range(7)], now=now)
    parts = AlertExport(ana, Q(), file_format="json").parts()
    text = next(parts)
    opened([draft(organization, "new")], now=now)
    for alert in alerts:
        services.close(alert, actor=ana, now=now)
    rows = json.loads(text + b"".join(parts))
    assert [row["id"] for row in rows] == [alert.pk for alert in reversed(alerts)]
    assert [row["status"] for row in rows] == ["open"] * 3 + ["closed"] * 4


def test_a_page_waits_for_its_turn_and_takes_none_while_it_is_sent(organization, ana, now, monkeypatch):
    opened([draft(organization)], now=now)
    taken = []
    read = AlertExport._read

    def noting(self):
        taken.append(QUEUE._free)
        return read(self)

    monkeypatch.setattr(AlertExport, "_read", noting)
    before = QUEUE._free
    parts = AlertExport(ana, Q(), file_format="csv").parts()
    next(parts)
    assert (taken, QUEUE._free) == ([before - 1], before)


def test_a_page_for_which_the_database_has_no_time_is_tried_again_and_nothing_is_doubled(
    organization, ana, now, monkeypatch
):
    monkeypatch.setattr(alert_export, "IDS_OF_A_PAGE", 3)
    monkeypatch.setattr(alert_export, "PAUSES", (0, 0))
    opened([draft(organization, str(number)) for number in range(5)], now=now)
    faults = iter([None, OperationalError("away"), OperationalError("away"), None])
    read = AlertExport._read

    def failing(self):
        if fault := next(faults):
            raise fault
        return read(self)

    monkeypatch.setattr(AlertExport, "_read", failing)
    rows = json.loads(b"".join(AlertExport(ana, Q(), file_format="json").parts()))
    assert len({row["id"] for row in rows}) == len(rows) == 5


def test_an_organization_has_so_many_exports_under_way_and_others_have_theirs(
    api, client_for, organization, ana, now, monkeypatch
):
    monkeypatch.setattr(alert_export, "MAX_OF_ONE", 1)
    opened([draft(organization)], now=now)
    other = client_for(factories.UserFactory(roles=["App Admin"]))

    export = AlertExport(ana, Q(), file_format="csv")

    async def refused_meanwhile():
        under_way = export.sent_parts()
        await anext(under_way)
        answers = [await sync_to_async(each.get)(EXPORT) for each in (api, other)]
        await under_way.aclose()  # as when the client goes away
        return answers

    answer, unaffected = async_to_sync(refused_meanwhile)()
    assert (answer.status_code, answer["Retry-After"], answer.json()["code"]) == (503, "30", "busy")
    assert unaffected.status_code == 200
    assert api.get(EXPORT).status_code == 200


def test_the_page_of_alerts_links_to_the_export_of_what_it_shows(client, ana, organization):
    factories.AlertFactory(organization=organization, subject="x&y")
    client.force_login(ana)
    page = client.get("/alerts/?tab=open&q=x%26y").content.decode()
    assert f'href="{EXPORT}?format=csv&amp;search=x%26y&amp;status=open"' in page
    assert as_csv(client.get(f"{EXPORT}?format=csv&status=open&search=x%26y"))[0]["subject"] == "x&y"
    assert f'href="{EXPORT}?format=csv"' in client.get("/alerts/?tab=all").content.decode()


@pytest.mark.parametrize("address", ["alerts.json", "alerts/export.csv", "users/me.json", "groups/1.xml"])
def test_an_address_with_the_ending_of_a_file_does_not_exist(api, address):
    assert api.get(f"/api/v1/{address}").status_code == 404


def test_an_export_that_cannot_go_on_raises_so_that_its_connection_breaks_and_no_part_is_taken_for_the_whole(
    organization, ana, now, monkeypatch
):
    monkeypatch.setattr(alert_export, "PAUSES", (0, 0))
    opened([draft(organization)], now=now)
    tries = []

    def away(self):
        tries.append(1)
        raise OperationalError("away")

    monkeypatch.setattr(AlertExport, "_read", away)
    with pytest.raises(OperationalError):
        next(AlertExport(ana, Q(), file_format="csv").parts())
    assert len(tries) == 3
