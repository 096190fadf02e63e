"""What a change does to who is notified is said before it is done on pages, and in the answers of the API."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models.users import Role, User
from escalation.models.on_call import OutOfOffice, Shift
from escalation.models.policies import EscalationPolicy, PlayTier
from tests import factories
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db

API = "/api/v1/"
ALONE = [{"role": "primary"}]


@pytest.fixture(autouse=True)
def clock_stands_still(monkeypatch, now):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: now)


@pytest.fixture
def olga(world):
    return world.person("olga", roles=["Owner", "App Admin"])


@pytest.fixture
def api(olga, client_for):
    return client_for(olga)


def only(world, name, **fields):
    """A heartbeat that one person, or one group, alone is notified about."""
    rule = {"escalation_policy": world.policy(name=f"Of {name}", steps=ALONE)} if "response_play" not in fields else {}
    return world.heartbeat(name, every=minutes(5), **rule, **fields)


NOW = "1 heartbeat would reach nobody from now on: “backup”."


def warnings(answer):
    assert answer.status_code in {200, 201}, answer.content
    return [warning["detail"] for warning in answer.json()["warnings"]]


# -- the API: each way to leave a heartbeat alone -------------------------------------------------------------------
def test_deactivating_the_only_recipient(api, world):
    ana = world.person("ana")
    only(world, "backup", recipients=["ana"])
    only(world, "mirror", recipients=["zoe"])
    assert warnings(api.patch(f"{API}users/{ana.pk}/", {"is_active": False}, format="json")) == [NOW]
    assert warnings(api.patch(f"{API}users/{ana.pk}/", {"name": "Anna"}, format="json")) == []  # it stood so before
    assert warnings(api.patch(f"{API}users/{ana.pk}/", {"is_active": True}, format="json")) == []
    answer = api.delete(f"{API}users/{ana.pk}/")
    assert (answer.status_code, warnings(answer)) == (200, [NOW])


def test_a_user_who_is_not_alone_is_let_go_without_a_word(api, world):
    ana = world.person("ana")
    only(world, "backup", recipients=["ana", "zoe"])
    assert api.delete(f"{API}users/{ana.pk}/").status_code == 204


def test_the_cover_of_the_only_recipient_too(api, world, now):
    ana, bob = world.person("ana"), world.person("bob")
    only(world, "backup", recipients=["ana"])
    world.person("ana").contact_methods.update(label="Email-Second", enabled=False)
    days = {"starts_at": now - timedelta(days=1), "ends_at": now + timedelta(days=2)}
    OutOfOffice.objects.create(user=ana, cover=bob, **days)
    assert warnings(api.patch(f"{API}users/{bob.pk}/", {"is_active": False}, format="json")) == [NOW]


def test_making_the_only_recipient_a_stakeholder_or_taking_their_role(api, world):
    ana = world.person("ana")
    only(world, "backup", recipients=["ana"])
    assert warnings(api.patch(f"{API}users/{ana.pk}/", {"kind": "stakeholder"}, format="json")) == [NOW]
    User.objects.filter(pk=ana.pk).update(kind="standard")
    billing = world.organization.roles.get(name="Billing Admin")
    assert warnings(api.patch(f"{API}users/{ana.pk}/", {"roles": [billing.pk]}, format="json")) == [NOW]


def test_a_custom_role_that_loses_the_right_to_answer(api, world):
    ana = world.person("ana")
    only(world, "backup", recipients=["ana"])
    rights = world.organization.roles.get(name="Basic").entitlements
    role = Role.objects.create(organization=world.organization, name="Ours", entitlements=rights)
    ana.roles.set([role])
    assert warnings(api.patch(f"{API}roles/{role.pk}/", {"entitlements": []}, format="json")) == [NOW]


def test_deleting_disabling_narrowing_and_delaying_a_contact_method(api, world):
    ana = world.person("ana")
    method = ana.contact_methods.get()
    method.label = "Email-Second"
    method.save()
    only(world, "backup", recipients=["ana"])
    url = f"{API}contact-methods/{method.pk}/"
    assert warnings(api.patch(url, {"enabled": False}, format="json")) == [NOW]
    assert warnings(api.patch(url, {"enabled": True, "delay_minutes": 44640}, format="json")) == []  # as before
    assert warnings(api.patch(url, {"delay_minutes": 0}, format="json")) == []
    assert warnings(api.patch(url, {"delay_minutes": 44640}, format="json")) == [NOW]
    method.refresh_from_db()
    method.delay_minutes = 0
    method.save()
    windows = [{"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "starts": "08:00", "ends": "18:00"}]
    later = "1 heartbeat would reach nobody from Mon 2 Mar 2026, 18:00:00 UTC: “backup”."
    assert warnings(api.patch(url, {"windows": windows}, format="json")) == [later]
    assert warnings(api.delete(url)) == [NOW]


def test_disabling_a_policy_in_use(api, world):
    only(world, "backup", recipients=["ana"])
    policy = EscalationPolicy.objects.get(name="Of backup")
    answer = api.patch(f"{API}escalation-policies/{policy.pk}/", {"enabled": False}, format="json")
    assert answer.json()["warnings"] == [{"code": "reaches_nobody_now", "detail": NOW}]


def test_emptying_a_group_and_one_within_it(api, world):
    inner, outer = world.team("Inner", primary=["ana"]), world.team("Outer")
    outer.groups.add(inner)
    only(world, "backup", recipient_groups=[outer])
    assert warnings(api.patch(f"{API}groups/{inner.pk}/", {"members": []}, format="json")) == [NOW]


def test_disabling_or_emptying_a_play(api, world):
    team = world.team("Database", primary=["ana"])
    play = factories.PlayFactory(organization=world.organization)
    PlayTier.objects.create(play=play, offset_minutes=0).groups.add(team)
    only(world, "backup", response_play=play)
    url = f"{API}response-plays/{play.pk}/"
    assert warnings(api.patch(url, {"enabled": False}, format="json")) == [NOW]
    assert warnings(api.patch(url, {"enabled": True}, format="json")) == []
    assert warnings(api.patch(f"{API}groups/{team.pk}/", {"members": []}, format="json")) == [NOW]


def test_a_shift_that_ends_in_two_minutes_one_that_is_deleted_and_one_that_is_made(api, world, now):
    ana = world.person("ana")
    team = world.team("Database", managers=[], secondary=["ana"])
    member = team.members.get()
    shift = make_shift(team, primary=[ana])
    only(world, "backup", recipient_groups=[team])
    soon = (now + minutes(2)).isoformat()
    later = "1 heartbeat would reach nobody from Mon 2 Mar 2026, 12:02:00 UTC: “backup”."
    answer = api.patch(f"{API}shifts/{shift.pk}/", {"ends_at": soon}, format="json")
    assert answer.json()["warnings"] == [{"code": "reaches_nobody_later", "detail": later}]
    Shift.objects.update(ends_at=None)
    assert warnings(api.delete(f"{API}shifts/{shift.pk}/")) == [NOW]
    member.role = "primary"
    member.save()
    windows = [{"days": ["monday"], "starts": "08:00", "ends": "13:00"}]
    given = {"group": team.pk, "name": "Mondays", "windows": windows, "people": [{"user": ana.pk}]}
    later = "1 heartbeat would reach nobody from Mon 2 Mar 2026, 13:00:00 UTC: “backup”."
    assert warnings(api.post(f"{API}shifts/", given, format="json")) == [later]


def test_opting_out(world, client_for):
    ana = world.person("ana")
    job = only(world, "backup", recipients=["ana"])
    mine = client_for(ana)
    answer = mine.post(f"{API}integrations/{job.pk}/opt-out/")
    assert (answer.status_code, warnings(answer)) == (200, [NOW])
    assert mine.delete(f"{API}integrations/{job.pk}/opt-out/").status_code == 204


def test_many_heartbeats_are_counted_and_some_are_named(api, world):
    ana = world.person("ana")
    for number in range(8):
        world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"])
    said = warnings(api.patch(f"{API}users/{ana.pk}/", {"is_active": False}, format="json"))
    named = ", ".join(f"“job {number}”" for number in range(5))
    assert said == [f"8 heartbeats would reach nobody from now on: {named} and 3 more."]


def test_names_are_for_those_who_may_see_the_heartbeats(world, client_for):
    own = ["Users_Notifications_Update_UserAccess"]
    blind = Role.objects.create(organization=world.organization, name="Blind", entitlements=own)
    ana = world.person("ana")
    only(world, "backup", recipients=["ana", "bob"])
    bob = world.person("bob")
    bob.roles.set([blind])
    method = ana.contact_methods.get()
    method.label = "Email-Second"
    method.save()
    admin = world.person("adam")
    admin.roles.set(
        [
            Role.objects.create(
                organization=world.organization, name="Keeper", entitlements=["SecurityAdministration_Global_Access"]
            )
        ]
    )
    api = client_for(admin)
    said = warnings(api.patch(f"{API}users/{ana.pk}/", {"is_active": False}, format="json"))
    assert said == ["1 heartbeat would reach nobody from now on: you may not see which."]


def test_a_bound_that_is_met_is_said(api, world, monkeypatch):
    from integrations.coverage import consequences

    ana = world.person("ana")
    for number in range(3):
        world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"])
    monkeypatch.setattr(consequences, "MAX_INTEGRATIONS", 2)
    said = warnings(api.patch(f"{API}users/{ana.pk}/", {"is_active": False}, format="json"))
    assert said[0].startswith("2 heartbeats would reach nobody")
    assert said[1] == "Only 2 of the heartbeats that this affects were checked."


def test_the_number_of_queries_does_not_depend_on_how_many_heartbeats_there_are(
    api, world, django_assert_max_num_queries
):
    ana = world.person("ana")
    teams = [world.team(f"Team {number}", primary=["ana", "bob"]) for number in range(6)]
    for team in teams[:3]:
        make_rotation(team, primary=[ana, world.person("bob")])
    for number in range(24):
        world.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[teams[number % 6]])
    with django_assert_max_num_queries(95):
        assert warnings(api.patch(f"{API}users/{ana.pk}/", {"is_active": False}, format="json")) == []


# -- Configuration: asked before it is saved ------------------------------------------------------------------------
def user_form(user, **fields):
    roles = list(user.roles.values_list("pk", flat=True))
    stated = {"name": user.name, "email": user.email, "kind": user.kind, "time_zone": user.time_zone, "roles": roles}
    return stated | {"password": "", "is_active": "on"} | fields


def test_configuration_asks_before_it_saves(world, olga, client):
    ana = world.person("ana")
    only(world, "backup", recipients=["ana"])
    client.force_login(olga)
    url = f"/admin/accounts/user/{ana.pk}/change/"
    given = user_form(ana)
    del given["is_active"]
    asked = client.post(url, given)
    page = asked.content.decode()
    assert (asked.status_code, NOW in page, "Nothing has been saved yet." in page) == (200, True, True)
    assert User.objects.get(pk=ana.pk).is_active
    assert not olga.logentry_set.exists()
    given["confirmed"] = "of something else"
    assert NOW in client.post(url, given).content.decode()
    given["confirmed"] = page.split('name="confirmed" value="')[1].split('"')[0]
    saved = client.post(url, given, follow=True)
    assert not User.objects.get(pk=ana.pk).is_active
    assert NOW in saved.content.decode()


def test_configuration_saves_at_once_what_has_no_consequences(world, olga, client):
    ana = world.person("ana")
    only(world, "backup", recipients=["ana", "zoe"])
    client.force_login(olga)
    given = user_form(ana)
    del given["is_active"]
    assert client.post(f"/admin/accounts/user/{ana.pk}/change/", given).status_code == 302
    assert not User.objects.get(pk=ana.pk).is_active


def test_the_page_before_a_deletion_says_what_it_brings_and_changes_nothing(world, olga, client):
    team = world.team("Database", secondary=["ana"])
    shift = make_shift(team, primary=[world.person("ana")])
    only(world, "backup", recipient_groups=[team])
    client.force_login(olga)
    url = f"/admin/escalation/shift/{shift.pk}/delete/"
    assert NOW in client.get(url).content.decode()
    assert Shift.objects.filter(pk=shift.pk).exists()
    assert NOW in client.post(url, {"post": "yes"}, follow=True).content.decode()
    assert not Shift.objects.exists()
    policy = EscalationPolicy.objects.get(name="Of backup")  # in use: the deletion is refused, and nothing predicted
    assert (
        "would reach nobody"
        not in client.get(f"/admin/escalation/escalationpolicy/{policy.pk}/delete/").content.decode()
    )


@pytest.mark.parametrize("page", ["escalation/escalationpolicy", "accounts/group"])
def test_of_what_is_in_use_the_page_before_a_deletion_computes_nothing(world, olga, client, monkeypatch, page):
    """Thousands of integrations may use it, and the deletion is refused."""
    team = world.team("Database", primary=["ana"])
    policy = world.policy(name="Nights", steps=ALONE)
    for number in range(10):
        world.heartbeat(f"job {number}", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    client.force_login(olga)
    monkeypatch.setattr("integrations.coverage.consequences.gaps_among", None)  # a call would fail
    row = policy if page.endswith("policy") else team
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/admin/{page}/{row.pk}/delete/").status_code == 200
    assert len(queries) <= 20


def test_the_page_before_the_deletion_of_an_absence_reads_each_table_twice(
    world, olga, client, django_assert_max_num_queries
):
    team = world.team("Database", primary=["ana"])
    for number in range(10):
        only(world, f"job {number}", recipient_groups=[team])
    absence = make_absence(world.person("ana"), olga, starts_at=world.now, ends_at=world.now + timedelta(days=1))
    client.force_login(olga)
    with django_assert_max_num_queries(66):
        assert client.get(f"/admin/escalation/outofoffice/{absence.pk}/delete/").status_code == 200


# -- the pages for people on call -----------------------------------------------------------------------------------
@pytest.fixture
def phone(world):
    ana = world.person("ana")
    method = ana.contact_methods.get()
    method.label = "Email-Second"
    method.save()
    only(world, "backup", recipients=["ana"])
    return method


@pytest.mark.parametrize("action", ["delete", "disable"])
def test_the_profile_asks_before_the_only_method_goes(world, phone, client, action):
    client.force_login(world.person("ana"))
    url = f"/profile/contact-methods/{phone.pk}/{action}/"
    page = client.post(url).content.decode()
    assert NOW in page
    assert world.person("ana").contact_methods.filter(enabled=True).exists()
    after = client.post(url, {"confirmed": page.split('name="confirmed" value="')[1].split('"')[0]}, follow=True)
    assert NOW in after.content.decode()
    assert not world.person("ana").contact_methods.filter(enabled=True).exists()


def test_a_delay_is_asked_about_with_all_that_was_entered(world, phone, client):
    client.force_login(world.person("ana"))
    url = f"/profile/contact-methods/{phone.pk}/"
    given = {
        "label": "Email-Late",
        "address": phone.address,
        "delay_minutes": "600",
        "repeat_count": "0",
        "repeat_gap_minutes": "5",
        "windows": "",
    }
    page = client.post(url, given).content.decode()
    assert NOW in page
    assert '<input type="hidden" name="label" value="Email-Late">' in page
    phone.refresh_from_db()
    assert phone.label == "Email-Second"


def test_a_manager_is_asked_before_the_group_is_empty(world, client):
    mia = world.person("mia", roles=["App Admin"])
    team = world.team("Database", primary=["ana"])
    only(world, "backup", recipient_groups=[team])
    client.force_login(mia)
    url = f"/groups/{team.pk}/members/remove/"
    page = client.post(url, {"user": world.person("ana").pk, "role": "primary"}).content.decode()
    assert NOW in page
    assert team.members.count() == 1
