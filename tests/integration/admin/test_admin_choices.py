"""Fields of Configuration that choose among many rows: a page lists what is chosen, and a search finds the others."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models.audit import AuditEntry
from accounts.models.groups import GroupMember
from accounts.models.users import User
from integrations.models.integrations import InboundIntegration
from integrations.models.windows import MaintenanceWindow
from tests import factories

WINDOW = "/admin/integrations/maintenancewindow/"
TIMES = {"starts_at": "2030-01-01T00:00", "ends_at": "2030-01-01T01:00"}


@pytest.fixture
def crowd(here):
    """More people than a row lists, half of them in the group."""
    fields = {"organization": here.organization, "created_at": factories.WHEN}
    people = [User(name=f"Person {n:02}", email=f"person{n}@example.com", **fields) for n in range(60)]
    User.objects.bulk_create(people)
    group = here.objects["accounts_group"]
    GroupMember.objects.bulk_create(
        GroupMember(group=group, user=user, role="secondary", position=place) for place, user in enumerate(people[:30])
    )
    return people


@pytest.fixture
def jobs(here):
    """More integrations than a field lists."""
    policy = here.organization.escalation_policies.first()
    fields = {"organization": here.organization, "escalation_policy": policy, "created_at": factories.WHEN}
    jobs = [InboundIntegration(name=f"Nightly {n:03}", **fields) for n in range(300)]
    return InboundIntegration.objects.bulk_create(jobs)


def drop_downs(page, name):
    return re.findall(rf'<select[^>]* name="{name}"[^>]*>(.*?)</select>', page, re.DOTALL)


def boxes(page, name):
    """Return the ids of the check boxes with this name, and whether each is ticked."""
    found = re.findall(rf'<input type="checkbox" name="{name}" value="(\d+)"( checked)?>', page)
    return {int(value): bool(checked) for value, checked in found}


class Fields(HTMLParser):
    """What a browser sends if nothing in a page was changed."""

    def __init__(self, page):
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self.select = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        name, kind = attributes.get("name"), attributes.get("type")
        if tag == "select":
            self.select = name
        elif tag == "option" and "selected" in attributes:
            self.sent.setdefault(self.select, []).append(attributes["value"])
        elif tag == "textarea":
            self.sent.setdefault(name, []).append("")
        elif tag == "input" and kind != "submit" and (kind != "checkbox" or "checked" in attributes):
            self.sent.setdefault(name, []).append(attributes.get("value") or "on" * (kind == "checkbox"))


def test_a_window_lists_what_it_covers_however_many_integrations_there_are(here, jobs, signed_in):
    window, browser = here.objects["integrations_maintenancewindow"], signed_in(here.people["Owner"])
    window.integrations.set(jobs[100:103])
    browser.get(f"{WINDOW}{window.pk}/change/")

    with CaptureQueriesContext(connection) as queries:
        page = browser.get(f"{WINDOW}{window.pk}/change/").content.decode()

    assert boxes(page, "integrations") == {job.pk: True for job in jobs[100:103]}
    assert "Nightly 101" in page
    assert "Nightly 104" not in page
    assert len(page) < 20_000
    assert len(queries) < 25


def test_a_search_without_scripts_finds_ones_own_integrations_and_saves_nothing(here, elsewhere, jobs, signed_in):
    factories.HeartbeatFactory(organization=elsewhere.organization, name="Nightly of others")
    browser, before = signed_in(here.people["Owner"]), MaintenanceWindow.objects.count()
    assert '<noscript><button type="submit" name="_find"' in browser.get(f"{WINDOW}add/").content.decode()
    sent = {"name": "Few", **TIMES, "integrations": [jobs[5].pk], "integrations-find": "nightly 1", "_find": "1"}

    page = browser.post(f"{WINDOW}add/", sent).content.decode()

    assert "Nothing is saved yet" in page
    assert MaintenanceWindow.objects.count() == before
    found = boxes(page, "integrations")
    assert found.pop(jobs[5].pk)
    assert list(found) == [job.pk for job in jobs[100:120]]
    assert not any(found.values())
    assert "The first 20" in page
    nothing = browser.post(f"{WINDOW}add/", sent | {"integrations-find": "of others"}).content.decode()
    assert "Nothing has this in its name." in nothing
    assert "Nightly of others" not in nothing
    # What was found is chosen, and the form is sent by its own button.
    sent |= {"integrations": [jobs[5].pk, jobs[110].pk]}
    sent.pop("_find")
    assert browser.post(f"{WINDOW}add/", sent).status_code == 302
    assert set(MaintenanceWindow.objects.get(name="Few").integrations.all()) == {jobs[5], jobs[110]}


def test_nobody_searches_who_may_not_open_the_form(here, jobs, signed_in):
    sent = {"name": "Few", **TIMES, "integrations-find": "nightly", "_find": "1"}
    for role in ("Basic", "Stakeholder"):
        if role in here.people:
            refused = signed_in(here.people[role]).post(f"{WINDOW}add/", sent)
            assert refused.status_code == 403
            assert "Nightly" not in refused.content.decode()


def test_a_window_takes_what_its_page_does_not_list_and_nothing_of_others(here, elsewhere, jobs, signed_in):
    window, browser = here.objects["integrations_maintenancewindow"], signed_in(here.people["Owner"])
    stranger = factories.HeartbeatFactory(organization=elsewhere.organization, name="Theirs")
    sent = {"name": "Few", **TIMES, "integrations": [jobs[299].pk, jobs[3].pk]}
    path = f"{WINDOW}{window.pk}/change/"
    assert browser.post(path, sent).status_code == 302
    assert set(window.integrations.all()) == {jobs[299], jobs[3]}
    refused = browser.post(path, sent | {"integrations": [stranger.pk]})
    assert refused.status_code == 200
    assert set(window.integrations.all()) == {jobs[299], jobs[3]}
    assert "Theirs" not in refused.content.decode()


def test_a_form_that_is_saved_unchanged_changes_nothing(here, crowd, jobs, signed_in):
    browser = signed_in(here.people["Owner"])
    window, heartbeat = here.objects["integrations_maintenancewindow"], here.objects["integrations_inboundintegration"]
    window.integrations.set(jobs[100:180])
    heartbeat.recipient_users.set(crowd[40:])
    group, shift = here.objects["accounts_group"], here.objects["escalation_shift"]
    play = here.objects["escalation_responseplay"]
    play.tiers.get().users.add(*crowd[:25])

    def stored():
        return [
            set(window.integrations.values_list("pk", flat=True)),
            set(heartbeat.recipient_users.values_list("pk", flat=True)),
            list(group.members.values_list("user", "role", "position").order_by("role", "position")),
            list(shift.people.values_list("user", "role")),
            set(play.tiers.get().users.values_list("pk", flat=True)),
        ]

    before, entries = stored(), AuditEntry.objects.filter(object_type__in=["group", "integration"]).count()
    for name, row in (
        ("integrations/maintenancewindow", window),
        ("integrations/inboundintegration", heartbeat),
        ("accounts/group", group),
        ("escalation/shift", shift),
        ("escalation/responseplay", play),
    ):
        path = f"/admin/{name}/{row.pk}/change/"
        sent = Fields(browser.get(path).content.decode()).sent
        response = browser.post(path, {key: value for key, value in sent.items() if key and not key.startswith("_")})
        assert response.status_code == 302, unescape(response.content.decode())
    assert stored() == before
    assert AuditEntry.objects.filter(object_type__in=["group", "integration"]).count() == entries


def test_a_form_that_is_saved_unchanged_keeps_the_order_in_which_groups_are_notified(here, signed_in):
    heartbeat = here.objects["integrations_inboundintegration"]
    names = ("Zebra", "Ants", "Mice")
    groups = [factories.GroupFactory(organization=here.organization, name=name) for name in names]
    heartbeat.recipient_groups.clear()
    for group in groups:
        heartbeat.recipient_groups.add(group)
    path, browser = f"/admin/integrations/inboundintegration/{heartbeat.pk}/change/", signed_in(here.people["Owner"])
    sent = Fields(browser.get(path).content.decode()).sent
    sent = {key: value for key, value in sent.items() if key and not key.startswith("_")}
    through = heartbeat.recipient_groups.through.objects.filter(inboundintegration=heartbeat).order_by("id")
    assert browser.post(path, sent).status_code == 302
    assert [row.group for row in through] == groups
    later = factories.GroupFactory(organization=here.organization, name="Bees")
    assert browser.post(path, {**sent, "recipient_groups": [later.pk, groups[1].pk, groups[0].pk]}).status_code == 302
    assert [row.group.name for row in through.all()] == ["Zebra", "Ants", "Bees"]


def test_each_member_of_many_is_listed_once_and_with_no_query_of_its_own(here, crowd, signed_in):
    group, browser = here.objects["accounts_group"], signed_in(here.people["Owner"])
    path = f"/admin/accounts/group/{group.pk}/change/"
    browser.get(path)
    with CaptureQueriesContext(connection) as with_all:
        page = browser.get(path).content.decode()
    rows = drop_downs(page, r"members-\d+-user")
    assert len(rows) == 32  # the member, thirty of the crowd, and an empty one
    for row, user in zip(rows[1:31], crowd, strict=False):
        assert f'<option value="{user.pk}" selected>{user}</option>' in row
        assert row.count("<option") == 2
    [for_new_rows] = drop_downs(page, "members-__prefix__-user")
    assert for_new_rows.count("<option") == rows[31].count("<option") == 1
    group.members.filter(role="secondary", position__gte=2).delete()
    with CaptureQueriesContext(connection) as with_few:
        browser.get(path)
    assert len(with_all) == len(with_few)


def test_a_row_of_few_offers_everybody_and_escapes_their_names(here, signed_in):
    mean = factories.UserFactory(organization=here.organization, name="</select><b>", email="mean@example.com")
    group = here.objects["accounts_group"]
    page = signed_in(here.people["Owner"]).get(f"/admin/accounts/group/{group.pk}/change/").content.decode()
    rows = drop_downs(page, r"members-\d+-user")
    assert {row.count("<option") for row in rows} == {here.organization.users.count() + 1}
    assert [row.count(" selected>") for row in rows] == [1, 1]
    assert all(f'<option value="{mean.pk}">&lt;/select&gt;&lt;b&gt;' in row for row in rows)


def test_a_search_in_an_empty_row_finds_people_and_saves_nothing(here, elsewhere, crowd, signed_in):
    group, browser = here.objects["accounts_group"], signed_in(here.people["Owner"])
    factories.UserFactory(organization=elsewhere.organization, name="Person elsewhere")
    path = f"/admin/accounts/group/{group.pk}/change/"
    page = browser.get(path).content.decode()
    sent = {key: value for key, value in Fields(page).sent.items() if key and not key.startswith("_")}
    sent |= {"name": ["Renamed"], "members-31-user-find": ["person 4"], "_find": ["1"]}

    page = browser.post(path, sent).content.decode()

    group.refresh_from_db()
    assert group.name != "Renamed"
    found = drop_downs(page, "members-31-user")[0]
    assert re.findall(r'value="(\d+)"', found) == [str(user.pk) for user in crowd[40:50]]
    assert "Person elsewhere" not in page
    assert drop_downs(page, "members-0-user")[0].count("<option") == 2


def test_a_row_takes_anybody_of_the_organization_and_nobody_else(here, crowd, signed_in):
    group, browser = here.objects["accounts_group"], signed_in(here.people["Owner"])
    path = f"/admin/accounts/group/{group.pk}/change/"
    stranger = factories.UserFactory()
    row = group.members.order_by("pk").last()

    def sent(user):
        rows = {"members-TOTAL_FORMS": "1", "members-INITIAL_FORMS": "1", "members-0-id": row.pk}
        rows |= {"members-0-group": group.pk, "members-0-role": "primary", "members-0-position": "0"}
        return {"name": group.name, **rows, "members-0-user": user.pk, "confirmed": ""}

    refused = browser.post(path, sent(stranger))
    assert refused.status_code == 200
    assert "not one of the available choices" in refused.content.decode()
    assert not group.members.filter(user=stranger).exists()
    assert browser.post(path, sent(crowd[53])).status_code == 302
    assert group.members.filter(user=crowd[53]).exists()
