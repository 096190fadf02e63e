"""`shifts/`, `out-of-office/` and who is on call over the management API."""

import pytest

from escalation.models.on_call import OutOfOffice, Shift
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db
SHIFTS, ABSENCES = "/api/v1/shifts/", "/api/v1/out-of-office/"


@pytest.fixture
def team():
    """A group of Ana and Bob, whose Manager is Mia."""
    organization = factories.OrganizationFactory()
    made = {
        name: factories.UserFactory(organization=organization, name=name, email=f"{name.lower()}@example.com")
        for name in ("Ana", "Bob", "Mia", "Zoe")
    }
    group = factories.GroupFactory(
        organization=organization, name="Database", primary=[made["Ana"], made["Bob"]], managers=[made["Mia"]]
    )
    group.person = made
    return group


def body(team, **fields):
    return {"group": team.pk, "name": "Nights", "people": [{"user": team.person["Ana"].pk}], **fields}


def post(api, url, given):
    answer = api.post(url, given, format="json")
    return answer.status_code, answer.json()


def refusal(api, url, given):
    status, found = post(api, url, given)
    assert status == 400, found
    return [(error["pointer"], error["code"]) for error in found["errors"]]


# -- shifts -----------------------------------------------------------------------------------------------------------
def test_a_manager_of_the_group_makes_a_rotating_shift(client_for, team):
    given = body(
        team,
        kind="rotating",
        time_zone="Europe/Berlin",
        rotates_every="week",
        first_handoff_on="2026-03-02",
        handoff_time="08:30",
        windows=[{"days": ["friday", "monday"], "starts": "22:00", "ends": "06:00"}],
        people=[{"user": team.person["Bob"].pk}, {"user": team.person["Ana"].pk, "role": "secondary"}],
    )
    status, made = post(client_for(team.person["Mia"]), SHIFTS, given)
    assert status == 201, made
    assert made["windows"] == [{"days": ["monday", "friday"], "starts": "22:00", "ends": "06:00", "days_later": 1}]
    assert made["people"] == [
        {"user": team.person["Bob"].pk, "role": "primary"},
        {"user": team.person["Ana"].pk, "role": "secondary"},
    ]
    assert (made["handoff_time"], made["handoff_weekday"], made["people_at_once"]) == ("08:30:00", "monday", 1)
    assert client_for(team.person["Ana"]).get(f"{SHIFTS}{made['id']}/").json()["name"] == "Nights"
    assert [row["id"] for row in client_for(team.person["Ana"]).get(f"{SHIFTS}?group={team.pk}").json()["results"]] == [
        made["id"]
    ]


def test_a_member_looks_on_and_a_stranger_sees_nothing(client_for, team):
    shift = make_shift(team, primary=[team.person["Ana"]])
    member, stranger = client_for(team.person["Ana"]), client_for(team.person["Zoe"])
    assert member.post(SHIFTS, body(team), format="json").status_code == 403
    assert member.patch(f"{SHIFTS}{shift.pk}/", {"name": "x"}, format="json").status_code == 403
    assert member.delete(f"{SHIFTS}{shift.pk}/").status_code == 403
    assert stranger.get(f"{SHIFTS}{shift.pk}/").status_code == 404
    assert stranger.get(SHIFTS).json()["results"] == []


def test_a_manager_of_another_group_may_not(client_for, team):
    other = factories.GroupFactory(organization=team.organization, managers=[team.person["Zoe"]])
    shift = make_shift(team, primary=[team.person["Ana"]])
    api = client_for(team.person["Zoe"])
    assert api.post(SHIFTS, body(team), format="json").status_code == 403
    assert api.patch(f"{SHIFTS}{shift.pk}/", {"name": "x"}, format="json").status_code == 404
    team.members.create(user=team.person["Zoe"])
    assert api.patch(f"{SHIFTS}{shift.pk}/", {"name": "x"}, format="json").status_code == 403
    assert other.shifts.count() == 0


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        ({"people": []}, "/people", "required"),
        ({"people": [{"user": 2**62}]}, "/people/0/user", "does_not_exist"),
        ({"people": [{"user": "Ana", "role": "manager"}]}, "/people/0/role", "invalid_choice"),
        ({"name": " "}, "/name", "blank"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone", "time_zone"),
        ({"kind": "rotating"}, "/first_handoff_on", "required"),
        ({"kind": "calendar"}, "/calendar_url", "required"),
        ({"kind": "calendar", "calendar_url": "file:///etc/passwd"}, "/calendar_url", "invalid"),
        ({"windows": [{"days": [], "starts": "08:00", "ends": "09:00"}]}, "/windows/0/days", "min_length"),
        (
            {"windows": [{"days": ["someday"], "starts": "08:00", "ends": "09:00"}]},
            "/windows/0/days/0",
            "invalid_choice",
        ),
        (
            {"windows": [{"days": ["monday"], "starts": "08:00", "ends": "09:00", "days_later": 7}]},
            "/windows/0/days_later",
            "invalid",
        ),
        ({"starts_at": "2026-03-02T12:00:00Z", "ends_at": "2026-03-02T12:00:00Z"}, "/ends_at", "invalid"),
        ({"starts_at": "1026-03-02T12:00:00Z"}, "/starts_at", "invalid"),
        ({"colour": "red"}, "/colour", "unknown_field"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(client_for, team, given, pointer, code):
    for person in given.get("people", ()):
        person["user"] = team.person[person["user"]].pk if person["user"] == "Ana" else person["user"]
    assert refusal(client_for(team.person["Mia"]), SHIFTS, body(team, **given)) == [(pointer, code)]
    assert Shift.objects.count() == 0


def test_24_00_is_the_end_of_the_day_and_what_is_the_same_window_is_answered_the_same(client_for, team):
    late = {"days": ["friday"], "starts": "18:00", "ends": "24:00", "days_later": 2}
    same = late | {"ends": "00:00", "days_later": 3}
    _, made = post(client_for(team.person["Mia"]), SHIFTS, body(team, windows=[late, same]))
    assert made["windows"] == [late, late]
    shift = Shift.objects.get(pk=made["id"])
    assert {str(window) for window in shift.windows.all()} == {"Fri 18:00 to 24:00 (+2 d)"}
    assert {(f"{window.ends}", window.days_later) for window in shift.windows.all()} == {("00:00:00", 3)}
    old = {"days": ["friday"], "from": "18:00", "to": "24:00"}
    assert refusal(client_for(team.person["Mia"]), SHIFTS, body(team, name="x", windows=[old])) == [
        ("/windows/0/from", "unknown_field"),
        ("/windows/0/to", "unknown_field"),
    ]


def test_only_members_can_be_on_a_shift_once_in_each_role_and_its_name_is_unique(client_for, team):
    api = client_for(team.person["Mia"])
    zoe, ana = team.person["Zoe"].pk, team.person["Ana"].pk
    assert refusal(api, SHIFTS, body(team, people=[{"user": zoe}])) == [("/people/0/user", "does_not_exist")]
    assert refusal(api, SHIFTS, body(team, people=[{"user": ana}] * 2)) == [("/people/1", "unique")]
    assert post(api, SHIFTS, body(team))[0] == 201
    assert refusal(api, SHIFTS, body(team, name="NIGHTS")) == [("/name", "unique")]


def test_a_change_keeps_what_is_not_given_and_a_shift_stays_in_its_group(client_for, team):
    api = client_for(team.person["Mia"])
    shift = make_shift(team, primary=[team.person["Ana"]], windows=[(["monday"], "08:00", "12:00")])
    changed = api.patch(f"{SHIFTS}{shift.pk}/", {"name": "Days"}, format="json").json()
    assert (changed["name"], len(changed["people"]), len(changed["windows"])) == ("Days", 1, 1)
    other = factories.GroupFactory(organization=team.organization, managers=[team.person["Mia"]])
    answer = api.patch(f"{SHIFTS}{shift.pk}/", {"group": other.pk}, format="json")
    assert answer.json()["errors"][0]["pointer"] == "/group"
    assert api.delete(f"{SHIFTS}{shift.pk}/").status_code == 204


def test_a_calendars_address_is_shown_only_to_who_may_change_it(client_for, team):
    given = body(team, kind="calendar", calendar_url="webcal://calendar.example.com/secret.ics", people=[])
    _, made = post(client_for(team.person["Mia"]), SHIFTS, given)
    assert made["calendar_url"] == "https://calendar.example.com/secret.ics"
    assert client_for(team.person["Ana"]).get(f"{SHIFTS}{made['id']}/").json()["calendar_url"] is None


def test_the_list_costs_the_same_however_many_shifts_there_are(client_for, team, django_assert_max_num_queries):
    for _ in range(5):
        make_shift(team, primary=[team.person["Ana"]], windows=[(["monday"], "08:00", "12:00")])
    with django_assert_max_num_queries(12):
        assert len(client_for(team.person["Ana"]).get(SHIFTS).json()["results"]) == 5


# -- who is on call ---------------------------------------------------------------------------------------------------
def status(api, group, at="2026-03-02T12:00:00Z"):
    return api.get(f"/api/v1/groups/{group.pk}/on-call/?at={at}").json()


def test_a_group_says_who_is_on_call_by_which_shift_until_when_and_the_gaps_ahead(client_for, team):
    ana, bob, mia = (team.person[name] for name in ("Ana", "Bob", "Mia"))
    shift = make_rotation(
        team,
        primary=[ana, bob],
        first="2026-03-02",
        windows=[([f"{day}day" for day in ("mon", "tues")], "09:00", "17:00")],
    )
    make_absence(ana, team.person["Zoe"], starts_at=WHEN, ends_at=WHEN + minutes(120))
    found = status(client_for(ana), team)
    assert (found["by"], found["shift"]) == ("shift", {"id": shift.pk, "name": shift.name})
    assert found["people"] == [
        {
            "user": ana.pk,
            "name": "Ana",
            "role": "primary",
            "group": {"id": team.pk, "name": "Database"},
            "notified_instead": {"id": team.person["Zoe"].pk, "name": "Zoe"},
        },
        {
            "user": mia.pk,
            "name": "Mia",
            "role": "manager",
            "group": found["people"][0]["group"],
            "notified_instead": None,
        },
    ]
    assert found["until"] == "2026-03-02T13:00:00Z"  # Ana is back
    assert found["gaps"][0] == {"starts_at": "2026-03-02T17:00:00Z", "ends_at": "2026-03-03T09:00:00Z"}
    assert status(client_for(ana), team, at="2026-03-09T09:00:00Z")["people"][0]["name"] == "Bob"
    assert status(client_for(ana), team, at="2026-03-04T09:00:00Z")["by"] == "nobody"


def test_without_shifts_it_is_the_member_list(client_for, team):
    found = status(client_for(team.person["Ana"]), team)
    assert (found["by"], found["shift"], found["until"], found["gaps"]) == ("member_list", None, None, [])
    assert [(person["name"], person["role"]) for person in found["people"]] == [
        ("Ana", "primary"),
        ("Bob", "primary"),
        ("Mia", "manager"),
    ]


def test_it_says_why_it_is_not_the_shift_that_one_would_expect(client_for, team):
    ana, bob = team.person["Ana"], team.person["Bob"]
    always = make_shift(team, primary=[bob], name="Always")
    days = make_shift(team, primary=[ana], name="Days", windows=[(["monday"], "09:00", "17:00")])
    found = status(client_for(bob), team)
    assert (found["shift"]["id"], found["reason"], found["skipped_shifts"]) == (days.pk, "", [])
    assert found["rota_ends_at"] is None
    ana.is_active = False
    ana.save()
    found = status(client_for(bob), team)
    assert (found["shift"]["id"], found["gaps"]) == (always.pk, [])
    assert found["skipped_shifts"] == [{"id": days.pk, "name": "Days"}]
    assert found["reason"] == "“Days” is passed over: nobody in it can be reached."
    bob.contact_methods.all().delete()
    found = status(client_for(bob), team)
    assert (found["shift"]["id"], found["skipped_shifts"]) == (always.pk, [])
    assert found["reason"] == "Nobody who is on call by this shift can be reached."
    assert len(found["gaps"]) == 1


def test_a_rota_that_has_run_out_or_will_is_named_and_an_override_that_is_over_is_none(client_for, team):
    ana, bob = team.person["Ana"], team.person["Bob"]
    times = {"starts_at": WHEN - minutes(600), "ends_at": WHEN - minutes(60)}
    make_shift(team, primary=[bob], name="Dentist", is_override=True, **times)
    found = status(client_for(ana), team)
    assert (found["by"], found["rota_ends_at"], found["reason"]) == ("member_list", None, "")
    shift = make_shift(team, primary=[bob], name="Spring", **times)
    found = status(client_for(ana), team)
    assert (found["by"], len(found["people"])) == ("member_list", 3)
    assert found["rota_ends_at"] == f"{shift.ends_at:%Y-%m-%dT%H:%M:%SZ}"
    assert "The last shift has ended" in found["reason"]
    running = make_shift(
        team, primary=[bob], name="Today", is_override=True, starts_at=WHEN - minutes(1), ends_at=WHEN + minutes(120)
    )
    found = status(client_for(ana), team)
    assert (found["by"], found["reason"]) == ("shift", "")
    running.delete()
    later = make_shift(team, primary=[bob], name="Summer", ends_at=WHEN + minutes(3 * 24 * 60))
    found = status(client_for(ana), team)
    assert (found["by"], found["reason"]) == ("shift", "")
    assert found["rota_ends_at"] == f"{later.ends_at:%Y-%m-%dT%H:%M:%SZ}"
    later.ends_at = WHEN + minutes(20 * 24 * 60)
    later.save()
    assert status(client_for(ana), team)["rota_ends_at"] is None


def test_the_cover_of_somebody_who_was_deactivated_is_named_as_the_engine_notifies_them(client_for, team):
    ana, zoe = team.person["Ana"], team.person["Zoe"]
    make_absence(ana, zoe, starts_at=WHEN - minutes(60), ends_at=WHEN + minutes(60 * 24))
    ana.is_active = False
    ana.save()
    found = status(client_for(team.person["Bob"]), team)
    said = [(person["name"], (person["notified_instead"] or {}).get("name")) for person in found["people"]]
    assert said == [("Ana", "Zoe"), ("Bob", None), ("Mia", None)]
    assert found["until"] == "2026-03-03T11:00:00Z"


def test_the_answer_to_a_change_says_who_is_on_call_before_and_after_it_and_until_when(client_for, team, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: WHEN)
    api, ana, bob = client_for(team.person["Mia"]), team.person["Ana"], team.person["Bob"]
    both = [{"id": who.pk, "name": who.name} for who in (ana, bob)]
    given = body(team, kind="rotating", first_handoff_on="2026-02-23", people=[{"user": ana.pk}, {"user": bob.pk}])
    _, made = post(api, SHIFTS, given | {"handoff_time": "09:00"})
    assert made["on_call"] == {"before": both, "after": [both[1]], "until": "2026-03-09T09:00:00Z", "next": [both[0]]}
    url = f"{SHIFTS}{made['id']}/"
    assert api.get(url).json()["on_call"] is None
    turned = {"people": [{"user": bob.pk}, {"user": ana.pk}]}
    assert api.patch(url, turned, format="json").json()["on_call"] == {
        **made["on_call"],
        "before": [both[1]],
    }
    gone = api.patch(url, {"people": [{"user": ana.pk}]}, format="json").json()
    assert gone["on_call"] == {"before": [both[1]], "after": [both[0]], "until": None, "next": []}
    assert refusal(api, SHIFTS, body(team, name="x", on_call=None)) == [("/on_call", "read_only")]


def test_an_override_is_made_and_unmade(client_for, team):
    api = client_for(team.person["Mia"])
    _, made = post(api, SHIFTS, body(team, is_override=True))
    assert made["is_override"] is True
    changed = api.patch(f"{SHIFTS}{made['id']}/", {"is_override": False}, format="json").json()
    assert changed["is_override"] is False
    assert post(api, SHIFTS, body(team, name="Ordinary"))[1]["is_override"] is False


@pytest.mark.parametrize("at", ["yesterday", "", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_instant_that_is_none_is_refused(client_for, team, at):
    answer = client_for(team.person["Ana"]).get(f"/api/v1/groups/{team.pk}/on-call/", {"at": at})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/at"


def test_strangers_do_not_learn_who_is_on_call(client_for, team):
    assert client_for(team.person["Zoe"]).get(f"/api/v1/groups/{team.pk}/on-call/").status_code == 404


def test_i_learn_whether_i_am_on_call_and_when_next(client_for, team, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: WHEN)
    ana, bob = team.person["Ana"], team.person["Bob"]
    make_rotation(team, primary=[ana, bob], first="2026-03-02")
    mine, his = (client_for(who).get("/api/v1/users/me/on-call/").json() for who in (ana, bob))
    assert mine["on_call"] is True
    assert (mine["now"][0]["ends_at"], mine["next"]["starts_at"]) == ("2026-03-09T09:00:00Z", "2026-03-16T09:00:00Z")
    assert (his["on_call"], his["now"]) == (False, [])
    assert (his["next"]["starts_at"], his["next"]["ends_at"]) == ("2026-03-09T09:00:00Z", "2026-03-16T09:00:00Z")
    nobody = client_for(team.person["Zoe"]).get("/api/v1/users/me/on-call/").json()
    assert nobody == {"on_call": False, "now": [], "next": None, "remind_hours": 12.0}
    assert (mine["now"][0]["covering"], his["next"]["covering"]) == (None, None)


def test_while_i_am_out_of_office_my_cover_is_on_call_for_me(client_for, team, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: WHEN)
    ana, zoe = team.person["Ana"], team.person["Zoe"]
    make_rotation(team, primary=[ana, team.person["Bob"]], first="2026-03-02")
    make_absence(ana, zoe, starts_at=WHEN - minutes(60), ends_at=WHEN + minutes(60))
    mine, hers = (client_for(who).get("/api/v1/users/me/on-call/").json() for who in (ana, zoe))
    assert (mine["on_call"], mine["now"]) == (False, [])
    assert (mine["next"]["starts_at"], mine["next"]["ends_at"]) == ("2026-03-02T12:00:00Z", "2026-03-09T09:00:00Z")
    assert (hers["on_call"], hers["next"]) == (True, None)
    (turn,) = hers["now"]
    assert turn["covering"] == {"id": ana.pk, "name": "Ana"}
    assert (turn["group"]["name"], turn["ends_at"]) == ("Database", "2026-03-02T12:00:00Z")


def test_my_turn_has_its_true_end_however_late_and_none_where_none_is_planned(client_for, team, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: WHEN)
    ana, bob = team.person["Ana"], team.person["Bob"]
    make_rotation(team, primary=[ana, bob], first="2026-03-01", rotates_every="month", rotates_count=12)
    (turn,) = client_for(ana).get("/api/v1/users/me/on-call/").json()["now"]
    assert turn["ends_at"] == "2027-03-01T09:00:00Z"
    assert status(client_for(ana), team)["until"] == "2027-03-01T09:00:00Z"
    factories.GroupFactory(organization=team.organization, name="Backup", primary=[bob])
    (turn,) = client_for(bob).get("/api/v1/users/me/on-call/").json()["now"]
    assert (turn["group"]["name"], turn["ends_at"]) == ("Backup", None)


def test_i_set_when_to_be_reminded(client_for, team):
    api = client_for(team.person["Ana"])
    url = "/api/v1/users/me/on-call/"
    assert api.patch(url, {"remind_hours": 1.5}, format="json").json()["remind_hours"] == 1.5
    assert api.get(url).json()["remind_hours"] == 1.5
    assert api.patch(url, {"remind_hours": 0}, format="json").status_code == 400
    assert api.patch(url, {"remind_hours": 999}, format="json").status_code == 400
    assert api.patch(url, {"remind_hours": None}, format="json").json()["remind_hours"] is None


# -- out of office ----------------------------------------------------------------------------------------------------
def out(team, name="Ana", cover="Bob", **fields):
    rota_period = {"starts_at": "2026-03-02T08:00:00Z", "ends_at": "2026-03-06T16:00:00Z"}
    return {"cover": team.person[cover].pk, **rota_period, **fields}


def test_everybody_says_when_they_are_out_themselves(client_for, team):
    ana, bob = client_for(team.person["Ana"]), client_for(team.person["Bob"])
    status, made = post(ana, ABSENCES, out(team))
    assert (status, made["user"], made["group"]) == (201, team.person["Ana"].pk, None)
    assert bob.get(f"{ABSENCES}{made['id']}/").status_code == 200  # the cover sees it
    assert bob.patch(f"{ABSENCES}{made['id']}/", {"ends_at": "2026-03-05T16:00:00Z"}, format="json").status_code == 403
    assert client_for(team.person["Zoe"]).get(f"{ABSENCES}{made['id']}/").status_code == 404
    assert ana.patch(f"{ABSENCES}{made['id']}/", {"ends_at": "2026-03-05T16:00:00Z"}, format="json").status_code == 200
    assert ana.delete(f"{ABSENCES}{made['id']}/").status_code == 204


def test_a_manager_says_it_for_a_member_who_is_in_no_other_group(client_for, team):
    mia = client_for(team.person["Mia"])
    status, made = post(mia, ABSENCES, out(team, user=team.person["Ana"].pk))
    assert (status, made["user"], made["group"]) == (201, team.person["Ana"].pk, None)
    one = f"{ABSENCES}{made['id']}/"
    assert [row["id"] for row in mia.get(ABSENCES).json()["results"]] == [made["id"]]
    assert mia.patch(one, {"cover": team.person["Zoe"].pk}, format="json").status_code == 200
    assert mia.delete(one).status_code == 204


def test_a_manager_says_it_within_their_own_group_for_a_member_of_others(client_for, team):
    mia, ana = client_for(team.person["Mia"]), team.person["Ana"]
    other = factories.GroupFactory(organization=team.organization, primary=[ana])
    assert refusal(mia, ABSENCES, out(team, user=ana.pk)) == [("/group", "required")]
    assert post(mia, ABSENCES, out(team, user=ana.pk, group=other.pk))[0] == 403
    status, made = post(mia, ABSENCES, out(team, user=ana.pk, group=team.pk))
    assert (status, made["group"]) == (201, team.pk)
    one = f"{ABSENCES}{made['id']}/"
    assert mia.patch(one, {"group": other.pk}, format="json").status_code == 403
    assert mia.patch(one, {"group": None}, format="json").status_code == 400
    assert OutOfOffice.objects.get().group == team

    # What Ana entered for all her groups Mia sees, because it applies here, and does not change.
    OutOfOffice.objects.all().delete()
    entry = make_absence(ana, team.person["Zoe"], starts_at=WHEN, ends_at=WHEN + minutes(60))
    elsewhere = make_absence(
        ana, team.person["Zoe"], group=other, starts_at=WHEN + minutes(60), ends_at=WHEN + minutes(90)
    )
    assert [row["id"] for row in mia.get(ABSENCES).json()["results"]] == [entry.pk]
    assert mia.delete(f"{ABSENCES}{entry.pk}/").status_code == 403
    assert mia.get(f"{ABSENCES}{elsewhere.pk}/").status_code == 404


def test_for_others_it_takes_a_manager_or_the_right_to_update_all_groups(client_for, team):
    given = out(team, user=team.person["Ana"].pk, group=team.pk)
    factories.GroupFactory(organization=team.organization, managers=[team.person["Zoe"]])
    for name in ("Bob", "Zoe"):
        assert client_for(team.person[name]).post(ABSENCES, given, format="json").status_code == 403
    # A Manager whose roles let nobody update groups.
    team.person["Mia"].roles.set([team.organization.roles.get(name="Send Message")])
    assert client_for(team.person["Mia"]).post(ABSENCES, given, format="json").status_code == 403
    admin = factories.UserFactory(organization=team.organization, roles=["App Admin"])
    assert client_for(admin).post(ABSENCES, given, format="json").status_code == 201


def test_entries_of_a_person_may_not_overlap_but_may_follow_each_other(client_for, team):
    api = client_for(team.person["Ana"])
    assert post(api, ABSENCES, out(team))[0] == 201
    later = {"starts_at": "2026-03-06T15:59:59Z", "ends_at": "2026-03-08T16:00:00Z"}
    assert refusal(api, ABSENCES, out(team, **later)) == [("/starts_at", "unique")]
    assert refusal(api, ABSENCES, out(team, group=team.pk)) == [("/starts_at", "unique")]
    later["starts_at"] = "2026-03-06T16:00:00Z"
    assert post(api, ABSENCES, out(team, group=team.pk, **later))[0] == 201
    other = factories.GroupFactory(organization=team.organization)
    assert post(api, ABSENCES, out(team, group=other.pk, cover="Zoe", **later))[0] == 201
    assert refusal(api, ABSENCES, out(team, **later)) == [("/starts_at", "unique")]


def test_covers_that_lead_back_are_refused(client_for, team):
    assert post(client_for(team.person["Ana"]), ABSENCES, out(team, cover="Bob"))[0] == 201
    assert post(client_for(team.person["Bob"]), ABSENCES, out(team, cover="Mia"))[0] == 201
    assert refusal(client_for(team.person["Mia"]), ABSENCES, out(team, cover="Ana")) == [("/cover", "circle")]
    assert refusal(client_for(team.person["Zoe"]), ABSENCES, out(team, cover="Zoe")) == [("/cover", "invalid")]


def test_a_change_may_not_make_a_circle_either(client_for, team):
    api = client_for(team.person["Bob"])
    make_absence(team.person["Ana"], team.person["Bob"], starts_at=WHEN, ends_at=WHEN + minutes(60))
    entry = make_absence(team.person["Bob"], team.person["Zoe"], starts_at=WHEN, ends_at=WHEN + minutes(60))
    answer = api.patch(f"{ABSENCES}{entry.pk}/", {"cover": team.person["Ana"].pk}, format="json")
    assert answer.json()["errors"][0]["code"] == "circle"
    assert OutOfOffice.objects.get(pk=entry.pk).cover == team.person["Zoe"]


def test_objects_of_another_organization_do_not_exist(client_for, team):
    stranger = factories.UserFactory()
    foreign = factories.GroupFactory(organization=stranger.organization)
    api = client_for(team.person["Mia"])
    assert refusal(api, ABSENCES, out(team) | {"cover": stranger.pk}) == [("/cover", "does_not_exist")]
    assert refusal(api, ABSENCES, out(team, group=foreign.pk)) == [("/group", "does_not_exist")]
    assert refusal(api, SHIFTS, body(team) | {"group": foreign.pk}) == [("/group", "does_not_exist")]
    assert refusal(api, SHIFTS, body(team, people=[{"user": stranger.pk}])) == [("/people/0/user", "does_not_exist")]
