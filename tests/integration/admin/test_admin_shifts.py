"""Shifts and out of office as forms; a group's page says who is on call now, and when nobody will be."""

import pytest

from escalation.models.on_call import OutOfOffice, Shift
from tests import factories
from tests.factories.shifts import make_rotation, make_shift
from tests.integration.admin.test_admin_people_and_rules import rows

SHIFT = "/admin/escalation/shift/"
OUT = "/admin/escalation/outofoffice/"
FIELDS = {
    "name": "Nights",
    "kind": "rotating",
    "time_zone": "Europe/Berlin",
    "rotates_every": "week",
    "rotates_count": 1,
    "first_handoff_on": "2026-03-02",
    "handoff_time": "09:00",
    "people_at_once": 1,
}
NIGHT = {"days": ["monday", "friday"], "starts": "22:00", "ends": "06:00", "days_later": 0}


@pytest.fixture
def client(here, signed_in):
    return signed_in(here.people["Owner"])


def people(*named):
    return rows("people", *({"user": user.pk, "role": role, "position": place} for user, role, place in named))


def test_a_shift_is_made_with_its_people_and_windows(client, here):
    group, basic = here.objects["accounts_group"], here.people["Basic"]
    other = factories.UserFactory(organization=here.organization)
    group.members.create(user=other)
    given = FIELDS | {"group": group.pk} | people((basic, "primary", 1), (other, "primary", 0)) | rows("windows", NIGHT)
    response = client.post(f"{SHIFT}add/", given)
    assert response.status_code == 302, response.context["errors"]
    shift = Shift.objects.get(name="Nights")
    assert [person.user for person in shift.people.all()] == [other, basic]
    assert [str(window) for window in shift.windows.all()] == ["Mon, Fri 22:00 to 06:00 (+1 d)"]
    page = client.get(f"{SHIFT}{shift.pk}/change/").content.decode()
    assert 'value="22:00"' in page
    assert 'value="2026-03-02"' in page


def test_a_window_may_end_with_the_day(client, here):
    group, basic = here.objects["accounts_group"], here.people["Basic"]
    given = FIELDS | {"group": group.pk} | people((basic, "primary", 0))
    refused = client.post(f"{SHIFT}add/", given | rows("windows", NIGHT | {"ends": "25:00"}))
    assert "“25:00” is not a time of day" in refused.content.decode()
    assert client.post(f"{SHIFT}add/", given | rows("windows", NIGHT | {"ends": "24:00"})).status_code == 302
    shift = Shift.objects.get(name="Nights")
    assert [str(window) for window in shift.windows.all()] == ["Mon, Fri 22:00 to 24:00"]
    page = client.get(f"{SHIFT}{shift.pk}/change/").content.decode()
    assert 'name="windows-0-ends" value="24:00"' in page
    assert 'name="windows-0-days_later" value="0"' in page
    assert "Days later" in page
    assert "How many days after its start it ends: 3 from a Friday to the Monday." in page


def test_a_refusal_is_shown_in_the_form_and_nothing_is_saved(client, here):
    group, stranger = here.objects["accounts_group"], factories.UserFactory(organization=here.organization)
    given = FIELDS | {"group": group.pk} | people((stranger, "primary", 0)) | rows("windows")
    response = client.post(f"{SHIFT}add/", given)
    assert response.status_code == 200
    assert "This user is not a member of the group" in response.content.decode()
    assert not Shift.objects.filter(name="Nights").exists()


def test_somebody_of_another_organization_is_no_choice(client, here, elsewhere):
    given = (
        FIELDS | {"group": elsewhere.objects["accounts_group"].pk} | people((elsewhere.people["Basic"], "primary", 0))
    )
    response = client.post(f"{SHIFT}add/", given | rows("windows"))
    assert response.status_code == 200
    assert "Select a valid choice" in response.content.decode()


def test_out_of_office_is_entered_for_somebody_and_overlaps_are_refused(client, here):
    basic, owner = here.people["Basic"], here.people["Owner"]
    given = {"user": basic.pk, "cover": owner.pk, "starts_at": "2026-04-01T08:00", "ends_at": "2026-04-05T08:00"}
    assert client.post(f"{OUT}add/", given).status_code == 302
    response = client.post(f"{OUT}add/", given)
    assert response.status_code == 200
    assert "is already out of office in this time" in response.content.decode()
    assert OutOfOffice.objects.filter(user=basic, group=None).count() == 1


def test_a_groups_page_says_who_is_on_call_and_the_gaps_ahead(client, here, monkeypatch, now):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: now)
    group, basic = here.objects["accounts_group"], here.people["Basic"]
    page = client.get(f"/admin/accounts/group/{group.pk}/change/").content.decode()
    assert "By the shift" in page
    assert "Owner is notified instead" in page
    assert "Mon 2 Mar, 18:00 to Mon 9 Mar, 08:00" in page
    make_rotation(group, primary=[basic], name="Always")
    page = client.get(f"/admin/accounts/group/{group.pk}/change/").content.decode()
    assert "None: somebody is on call all the time." in page
    empty = factories.GroupFactory(organization=here.organization)
    page = client.get(f"/admin/accounts/group/{empty.pk}/change/").content.decode()
    assert "Nobody: an alert for this group goes on" in page


def test_who_may_only_look_does_not_see_a_calendars_address(here, signed_in):
    secret = "https://calendar.example.com/secret.ics"
    shift = make_shift(here.objects["accounts_group"], kind="calendar", calendar_url=secret)
    for role, seen in (("Integrations Admin", False), ("App Admin", True)):
        page = signed_in(here.people[role]).get(f"{SHIFT}{shift.pk}/change/").content.decode()
        assert (secret in page) == seen


def test_the_form_says_who_is_on_call_now_and_after_saving_who_is_instead(client, here, monkeypatch, now):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: now)
    basic, other = here.people["Basic"], factories.UserFactory(organization=here.organization, name="Cem")
    group = factories.GroupFactory(organization=here.organization, name="Network", primary=[basic, other])
    shift = make_rotation(group, primary=[basic], name="Nights", first="2026-02-23")
    page = client.get(f"{SHIFT}{shift.pk}/change/").content.decode()
    assert f"On call in Network now: {basic}." in page
    given = FIELDS | {"first_handoff_on": "2026-02-23", "time_zone": "UTC"} | rows("windows")
    both = people((basic, "primary", 0), (other, "primary", 1))
    page = client.post(f"{SHIFT}{shift.pk}/change/", given | both, follow=True).content.decode()
    assert f"Saved. On call now: {basic} until Mon 9 Mar 2026, 09:00, then Cem." in page
    assert "Until this change" not in page
    page = client.post(
        f"{SHIFT}{shift.pk}/change/", given | people((other, "primary", 0)) | {"is_override": "on"}, follow=True
    ).content.decode()
    assert f"Saved. On call now: Cem. Until this change it was {basic}." in page
    assert Shift.objects.get(pk=shift.pk).is_override
