"""Policies and plays over the management API, and the five that are shipped."""

import json
from decimal import Decimal

import pytest

from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.policies.policies import RoleRule, create_policy, update_policy
from heartbeat_project.kernel.errors import FieldError
from tests import factories

pytestmark = pytest.mark.django_db

POLICIES, PLAYS = "/api/v1/escalation-policies/", "/api/v1/response-plays/"


@pytest.fixture
def api(person, client_for):
    return client_for(person("adam", roles=["App Admin"]))


def one(**fields):
    return {"name": "Rota", "roles": [{"role": "primary"}], **fields}


def test_a_new_organization_has_the_five_shipped_policies(api):
    shipped = api.get(POLICIES).json()["results"][::-1]
    assert [policy["name"] for policy in shipped] == [
        "Escalate after 5 minutes, user preference",
        "Escalate after 30 minutes with 5 retries, centralized",
        "All hands, all contacts",
        "All hands, e-mail only",
        "E-mail manager",
    ]
    five, thirty, contacts, email, manager = shipped
    assert [(role["role"], role["wait_minutes"]) for role in five["roles"]] == [
        ("primary", 0),
        ("secondary", 5),
        ("manager", 5),
    ]
    assert {(role["retries"], role["retry_interval_minutes"]) for role in thirty["roles"]} == {(5, 5)}
    assert [role["contact_labels"] for role in contacts["roles"]] == [[], [], []]
    assert {tuple(role["contact_labels"]) for role in email["roles"]} == {("Email-Official",)}
    assert [role["role"] for role in manager["roles"]] == ["manager"]
    assert [policy["notify_using"] for policy in shipped] == ["user"] + ["centralized"] * 4


def test_a_policy_lives_its_life(api, organization):
    made = api.post(POLICIES, one(roles=[{"role": "manager", "wait_minutes": 0.5}, {"role": "primary"}]), format="json")
    assert made.status_code == 201, made.json()
    assert [(role["role"], role["wait_minutes"]) for role in made.json()["roles"]] == [("primary", 0), ("manager", 0.5)]
    assert (made.json()["version"], made.json()["usage"], made.json()["priority"]) == (1, [], "high")
    url = f"{POLICIES}{made.json()['id']}/"
    changed = api.patch(url, {"acknowledge_stops": True}, format="json").json()
    assert (changed["version"], len(changed["roles"]), changed["acknowledge_stops"]) == (2, 2, True)
    changed = api.patch(url, {"roles": [{"role": "secondary"}]}, format="json").json()
    assert (changed["version"], [role["role"] for role in changed["roles"]]) == (3, ["secondary"])
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


def test_a_clone_is_a_policy_of_its_own(api, organization):
    policy = EscalationPolicy.objects.filter(organization=organization).order_by("id")[1]
    url = f"{POLICIES}{policy.pk}/clone/"
    first, second, named = (api.post(url, body, format="json") for body in ({}, {}, {"name": "Mine"}))
    assert first.status_code == 201, first.json()
    assert first.json()["name"] == f"Copy of {policy.name}"
    assert second.json()["name"] == f"Copy of {policy.name} (2)"
    assert named.json()["name"] == "Mine"
    ours = {key: value for key, value in first.json().items() if key not in {"id", "name"}}
    assert ours == {key: value for key, value in api.get(f"{POLICIES}{policy.pk}/").json().items() if key in ours}
    assert api.post(url, {"name": "mine"}, format="json").json()["errors"][0]["pointer"] == "/name"


def test_a_clone_takes_over_everything_and_is_edited_alone(api, organization):
    policy = create_policy(
        organization,
        name="Nights",
        description="After ten.",
        priority="low",
        enabled=False,
        quick_launch=True,
        notify_using="centralized",
        next_group_wait_minutes=Decimal("2.5"),
        acknowledge_stops=True,
        recovery_notice=False,
        repeats=3,
        allowed_actions={"sms": ["assign"]},
        roles=[RoleRule("manager", Decimal(1), Decimal(2), 3, Decimal(4), ("Email-Official",))],
    )
    url = f"{POLICIES}{policy.pk}/"
    original, copy = api.get(url).json(), api.post(f"{url}clone/", {}, format="json").json()
    different = {key: value for key, value in copy.items() if original[key] != value}
    assert different == {"id": copy["id"], "name": "Copy of Nights"}
    api.patch(
        f"{POLICIES}{copy['id']}/", {"allowed_actions": {"sms": []}, "roles": [{"role": "primary"}]}, format="json"
    )
    assert api.get(url).json() == original


def test_a_policy_says_which_actions_messages_offer_in_which_channel(api):
    everything = ["acknowledge", "assign", "escalate", "close"]
    made = api.post(POLICIES, one(allowed_actions={"voice": ["acknowledge"]}), format="json").json()
    url = f"{POLICIES}{made['id']}/"
    assert made["allowed_actions"]["voice"] == ["acknowledge"]
    assert [made["allowed_actions"][channel] for channel in ("email", "sms", "push", "chat", "webhook", "apprise")] == [
        everything
    ] * 6
    changed = api.patch(
        url, {"allowed_actions": {"sms": ["close", "assign"], "chat": [], "apprise": ["acknowledge"]}}, format="json"
    ).json()
    assert changed["allowed_actions"] == {
        "email": everything,
        "sms": ["assign", "close"],
        "voice": ["acknowledge"],
        "push": everything,
        "chat": [],
        "webhook": everything,
        "apprise": ["acknowledge"],
    }
    for bad, pointer in (
        ({"telex": []}, "/allowed_actions/telex"),
        ({"sms": ["cancel"]}, "/allowed_actions/sms/0"),
        ([], "/allowed_actions"),
    ):
        answer = api.patch(url, {"allowed_actions": bad}, format="json")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert changed.pop("warnings") == []
    assert api.get(url).json() == changed


def test_the_usage_list_is_complete_and_paged(api, organization):
    policy = factories.PolicyFactory(organization=organization)
    jobs = [
        factories.HeartbeatFactory(organization=organization, name=f"Job {number}", escalation_policy=policy)
        for number in range(3)
    ]
    factories.HeartbeatFactory(organization=organization, name="Other")
    first = api.get(f"{POLICIES}{policy.pk}/usage/?page_size=2").json()
    assert first["results"] == [{"id": job.pk, "name": job.name} for job in (jobs[2], jobs[1])]
    assert [row["id"] for row in api.get(first["next"]).json()["results"]] == [jobs[0].pk]
    play = factories.PlayFactory(organization=organization)
    weekly = factories.HeartbeatFactory(organization=organization, name="Weekly", response_play=play)
    assert api.get(f"{PLAYS}{play.pk}/usage/").json()["results"] == [{"id": weekly.pk, "name": "Weekly"}]
    assert api.get(f"{POLICIES}{factories.PolicyFactory().pk}/usage/").status_code == 404


def test_one_that_is_in_use_says_by_whom_and_cannot_be_deleted(api, organization):
    policy = factories.PolicyFactory(organization=organization)
    job = factories.HeartbeatFactory(organization=organization, name="Nightly", escalation_policy=policy)
    play = factories.PlayFactory(organization=organization)
    factories.HeartbeatFactory(organization=organization, name="Weekly", response_play=play)
    assert api.get(f"{POLICIES}{policy.pk}/").json()["usage"] == [{"id": job.pk, "name": "Nightly"}]
    for url, name in ((f"{POLICIES}{policy.pk}/", "Nightly"), (f"{PLAYS}{play.pk}/", "Weekly")):
        answer = api.delete(url)
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert name in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x"}, "/roles"),
        (one(roles=[]), "/roles"),
        (one(name=""), "/name"),
        (one(name="E-MAIL MANAGER"), "/name"),
        (one(name="a\x00"), "/name"),
        (one(name="\ud800"), "/name"),
        (one(priority="\ud800"), "/priority"),
        (one(roles=[{"role": "boss"}]), "/roles/0/role"),
        (one(roles=[{"role": "primary"}, {"role": "primary"}]), "/roles/1/role"),
        (
            one(roles=[{"role": "primary", "retries": 1, "retry_interval_minutes": 0}]),
            "/roles/0/retry_interval_minutes",
        ),
        (one(roles=[{"role": "primary", "retries": 10**30}]), "/roles/0/retries"),
        (one(roles=[{"role": "primary", "wait_minutes": -1}]), "/roles/0/wait_minutes"),
        (one(roles=[{"role": "primary", "wait_minutes": "NaN"}]), "/roles/0/wait_minutes"),
        (one(roles=[{"role": "primary", "colour": "red"}]), "/roles/0/colour"),
        (one(roles=[{"role": "primary", "contact_labels": ["\x00"]}]), "/roles/0/contact_labels/0"),
        (one(roles="all"), "/roles"),
        (one(roles=[{"role": "primary"}] * 4), "/roles"),
        (one(priority=["high"]), "/priority"),
        (one(repeats=2), "/repeats"),
        (one(enabled="perhaps"), "/enabled"),
        (one(usage=[]), "/usage"),
        (one(colour="red"), "/colour"),
    ],
)
def test_bad_input_for_a_policy_is_named_and_nothing_is_saved(api, body, pointer):
    answer = api.post(POLICIES, json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert EscalationPolicy.objects.count() == 5


def test_a_play_lives_its_life(api, organization, person):
    ana, team = person("ana"), factories.GroupFactory(organization=organization)
    tiers = [{"offset_minutes": 5, "groups": [team.pk]}, {"offset_minutes": 0, "users": [ana.pk, ana.pk]}]
    made = api.post(PLAYS, {"name": "Fire drill", "tiers": tiers}, format="json")
    assert made.status_code == 201, made.json()
    assert made.json()["tiers"] == [
        {"offset_minutes": 0, "users": [ana.pk], "groups": []},
        {"offset_minutes": 5, "users": [], "groups": [team.pk]},
    ]
    url = f"{PLAYS}{made.json()['id']}/"
    renamed = api.patch(url, {"name": "Drill"}, format="json").json()
    assert (renamed["version"], len(renamed["tiers"])) == (2, 2)
    changed = api.patch(url, {"tiers": tiers[:1]}, format="json").json()
    assert (changed["version"], len(changed["tiers"])) == (3, 1)
    assert api.delete(url).status_code == 204


def test_bad_input_for_a_play_is_named_and_nothing_is_saved(api, person):
    ana, stranger = person("ana"), factories.UserFactory()
    tier = {"offset_minutes": 0, "users": [ana.pk]}
    for tiers, pointer in (
        ([], "/tiers"),
        ([tier, tier], "/tiers/1/offset_minutes"),
        ([{"offset_minutes": 0}], "/tiers/0/users"),
        ([{"offset_minutes": 0, "users": [stranger.pk]}], "/tiers/0/users"),
        ([{"offset_minutes": 0, "users": [10**30]}], "/tiers/0/users"),
        ([{"offset_minutes": True, "users": [ana.pk]}], "/tiers/0/offset_minutes"),
        ([{"users": [ana.pk]}], "/tiers/0/offset_minutes"),
    ):
        answer = api.post(PLAYS, {"name": "x", "tiers": tiers}, format="json")
        assert answer.status_code == 400, answer.content
        assert answer.json()["errors"][0]["pointer"].startswith(pointer), (pointer, answer.json())
    assert not ResponsePlay.objects.exists()


@pytest.mark.parametrize("url", [POLICIES, PLAYS])
def test_who_reads_and_who_writes(organization, person, client_for, url):
    for role, reads, writes in (
        ("App Admin", 200, 400),
        ("Integrations Admin", 200, 403),
        ("Basic", 403, 403),
        ("System Viewer", 403, 403),
    ):
        client = client_for(factories.UserFactory(organization=organization, roles=[role]))
        assert client.get(url).status_code == reads
        assert client.post(url, {}, format="json").status_code == writes


def test_those_of_another_organization_do_not_exist(api):
    other = factories.PolicyFactory()
    for act in (api.get, api.delete):
        assert act(f"{POLICIES}{other.pk}/").status_code == 404
    assert api.post(f"{POLICIES}{other.pk}/clone/", {}, format="json").status_code == 404
    assert api.get(f"{POLICIES}{'9' * 30}/").status_code == 404


def test_a_list_costs_the_same_for_5_and_for_15(api, organization, django_assert_max_num_queries):
    for _ in range(10):
        policy = factories.PolicyFactory(organization=organization)
        factories.HeartbeatFactory(organization=organization, escalation_policy=policy)
    with django_assert_max_num_queries(8):
        assert len(api.get(POLICIES).json()["results"]) == 15


def test_the_service_refuses_what_a_form_could_send(organization):
    with pytest.raises(FieldError, match="at least one role"):
        create_policy(organization, name="x", roles=[])
    policy = create_policy(organization, name="x", roles=[RoleRule("primary", wait_minutes=Decimal(1))], repeats=1)
    with pytest.raises(FieldError, match="no channel 'telex'"):
        create_policy(organization, name="y", roles=[RoleRule("primary")], allowed_actions={"telex": []})
    with pytest.raises(FieldError, match="No message allows “cancel”"):
        create_policy(organization, name="y", roles=[RoleRule("primary")], allowed_actions={"sms": ["cancel"]})
    with pytest.raises(FieldError, match="takes no time"):
        update_policy(policy, actor=None, now=factories.WHEN, roles=[RoleRule("primary")])
    policy.refresh_from_db()
    assert policy.version == 1
