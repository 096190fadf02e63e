"""The alerts area: who sees what, what can be done, and what a stale page is shown."""

import re
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert, AlertRecipient
from alerting.services import alerts
from tests import factories


@pytest.fixture
def person(organization):
    def make(name, *roles, **fields):
        return factories.UserFactory(organization=organization, name=name, roles=roles or ["Basic"], **fields)

    return make


@pytest.fixture
def alert(organization, now):
    return factories.AlertFactory(
        organization=organization,
        subject="Nightly backup is silent",
        facts=[{"label": "Interval", "text": "5 minutes"}, {"label": "Last ping", "at": now.isoformat()}],
        bridge=factories.BridgeFactory(organization=organization),
        opened_at=now,
    )


@pytest.fixture
def ana(person, alert):
    ana = person("Ana")
    AlertRecipient.objects.create(alert=alert, user=ana)
    return ana


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def said(response):
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def act(client, alert, action, **fields):
    return client.post(f"/alerts/{alert.pk}/{action}/", fields)


# -- seeing ------------------------------------------------------------------------------------------------------------
def test_strangers_are_sent_to_the_sign_in_page(alert):
    for path in ("/alerts/", f"/alerts/{alert.pk}/", "/heartbeats/panel/", "/alerts/list/", "/profile/"):
        assert Client().get(path)["Location"] == f"/login/?next={path}"
    assert Client().post(f"/alerts/{alert.pk}/close/").status_code == 302
    alert.refresh_from_db()
    assert alert.status == "open"


def test_people_see_the_alerts_that_concern_them(alert, ana, person):
    assert alert.subject in browser(ana).get("/alerts/").content.decode()
    assert browser(ana).get(f"/alerts/{alert.pk}/").status_code == 200
    other = browser(person("Ben"))
    assert alert.subject not in other.get("/alerts/").content.decode()
    assert other.get(f"/alerts/{alert.pk}/").status_code == 404
    assert other.get(f"/alerts/{alert.pk}/progress/").status_code == 404
    assert act(other, alert, "close").status_code == 404


def test_another_organization_sees_nothing(alert):
    owner = factories.UserFactory(roles=["Owner"])
    assert browser(owner).get(f"/alerts/{alert.pk}/").status_code == 404
    assert act(browser(owner), alert, "cancel").status_code == 404


@pytest.mark.parametrize("nonsense", ["0", "99999999999999999999", "x", "%00"])
def test_nonsense_ids_do_not_exist(ana, nonsense):
    assert browser(ana).get(f"/alerts/{nonsense}/").status_code == 404


@pytest.mark.parametrize(
    "query", ["tab=x", "before=x", "before=99999999999999999999", "heartbeats=x", "heartbeats=" + "9" * 5000]
)
def test_odd_queries_are_answered(ana, query):
    assert browser(ana).get(f"/alerts/?{query}").status_code == 200


def test_tabs_and_search_narrow_the_list(organization, alert, person, now):
    owner = person("Olga", "Owner")
    taken = factories.AlertFactory(organization=organization, subject="Taken already")
    alerts.assign(taken, actor=owner, to=owner, now=now)
    closed = factories.AlertFactory(organization=organization, subject="Long done")
    alerts.close(closed, actor=owner, now=now)
    client = browser(owner)

    def subjects(query):
        return [found.subject for found in client.get(f"/alerts/?{query}").context["page"].alerts]

    assert subjects("") == ["Nightly backup is silent"]
    assert subjects("tab=assigned") == ["Taken already"]
    assert subjects("tab=on-hold") == []
    assert subjects("tab=all") == ["Long done", "Taken already", "Nightly backup is silent"]
    assert subjects("tab=all&q=DONE") == ["Long done"]
    assert subjects(f"tab=all&q={taken.pk}") == ["Taken already"]
    counts = {tab.slug: tab.count for tab in client.get("/alerts/").context["page"].tabs}
    assert counts == {"open": 1, "assigned": 1, "on-hold": 0, "all": None}


def test_sixty_alerts_cost_as_many_queries_as_one_and_stand_on_two_pages(organization, alert, person):
    client = browser(person("Olga", "Owner"))

    def queries():
        with CaptureQueriesContext(connection) as captured:
            page = client.get("/alerts/").context["page"]
        return len(captured), page

    one, _ = queries()
    for _ in range(60):
        factories.AlertFactory(organization=organization)
    many, page = queries()
    assert many <= one
    assert many <= 15  # three of them for the parts of the panel, two for the frame
    assert len(page.alerts) == 50
    older = client.get(f"/alerts/?tab=open&before={page.older}").context["page"]
    assert (len(older.alerts), older.older) == (11, None)


def test_the_page_shows_facts_bridge_and_timeline(alert, ana):
    page = browser(ana).get(f"/alerts/{alert.pk}/").content.decode()
    assert "5 minutes" in page
    assert 'href="tel:+49301234567,,4711%23"' in page
    assert 'href="https://meet.example.com/ops"' in page
    assert alert.opened_at.isoformat() in page


# -- doing -------------------------------------------------------------------------------------------------------------
def test_each_action_is_a_post_that_leaves_a_line(alert, ana, person):
    client, ben = browser(ana), person("Ben")
    steps = [
        ("acknowledge", {}, "open"),
        ("take", {}, "assigned"),
        ("hold", {}, "on_hold"),
        ("resume", {}, "assigned"),
        ("assign", {"user": ben.pk}, "assigned"),
        ("escalate", {}, "open"),
        ("reply", {"text": "Looking at it"}, "open"),
        ("close", {"close-reason": "disk replaced"}, "closed"),
    ]
    for action, fields, status in steps:
        assert client.get(f"/alerts/{alert.pk}/{action}/").status_code == 405
        response = act(client, alert, action, **fields)
        assert response["Location"] == f"/alerts/{alert.pk}/", action
        alert.refresh_from_db()
        assert alert.status == status, action
    assert alert.close_reason == "disk replaced"
    page = client.get(f"/alerts/{alert.pk}/").content.decode()
    for line in ("Acknowledged by Ana", "Assigned to Ben by Ana", "Looking at it", "disk replaced"):
        assert line in page


def test_cancelling_keeps_its_reason(alert, ana):
    act(browser(ana), alert, "cancel", **{"cancel-reason": "a test"})
    alert.refresh_from_db()
    assert (alert.status, alert.close_reason) == ("cancelled", "a test")


def test_only_possible_actions_are_offered(alert, ana, now):
    page = browser(ana).get(f"/alerts/{alert.pk}/").content.decode()
    for action in ("acknowledge", "take", "assign", "escalate", "hold", "close", "cancel", "reply"):
        assert f"/alerts/{alert.pk}/{action}/" in page
    assert f"/alerts/{alert.pk}/resume/" not in page
    alerts.close(alert, actor=ana, now=now)
    page = browser(ana).get(f"/alerts/{alert.pk}/").content.decode()
    assert f"/alerts/{alert.pk}/reply/" in page
    for action in ("acknowledge", "take", "close", "cancel", "hold"):
        assert f"/alerts/{alert.pk}/{action}/" not in page


@pytest.mark.parametrize("kind", ["stakeholder", "viewer"])
def test_who_only_looks_on_sees_no_buttons_and_is_refused(alert, person, kind):
    if kind == "viewer":
        onlooker = person("Vera", "System Viewer")
    else:
        onlooker = person("Stan", kind="stakeholder")
        AlertRecipient.objects.create(alert=alert, user=onlooker)
    client = browser(onlooker)
    assert '<form method="post" action="/alerts/' not in client.get(f"/alerts/{alert.pk}/").content.decode()
    for action in ("take", "close", "reply", "acknowledge"):
        assert act(client, alert, action, text="x").status_code == 403
    alert.refresh_from_db()
    assert alert.status == "open"


def test_a_stale_page_is_shown_who_was_faster(alert, ana, person, now):
    ben = person("Ben")
    alerts.close(alert, actor=ben, now=now + timedelta(hours=3, minutes=12), reason="solved")
    response = act(browser(ana), alert, "take", seen="open:")
    assert response["Location"] == f"/alerts/{alert.pk}/"
    assert "Ben has closed this alert at 15:12." in said(response)
    alert.refresh_from_db()
    assert (alert.status, alert.owner) == ("closed", None)


def test_nobody_takes_an_alert_away_from_who_took_it_a_moment_ago(alert, ana, person, now):
    ben = person("Ben")
    alerts.assign(alert, actor=ben, to=ben, now=now)
    response = act(browser(ana), alert, "take", seen="open:")
    assert "Ben has assigned this alert to Ben" in said(response)
    alert.refresh_from_db()
    assert alert.owner == ben
    act(browser(ana), alert, "take", seen=f"assigned:{ben.pk}")
    alert.refresh_from_db()
    assert alert.owner == ana


def test_what_cannot_be_done_any_more_says_so(alert, ana, now):
    alerts.close_alerts([alert.pk], reason="closed by heartbeat", now=now)
    response = act(browser(ana), alert, "hold")
    assert "was closed at 12:00" in said(response)


def test_a_doubled_click_on_acknowledge_says_that_it_is_done_already(alert, ana):
    client = browser(ana)
    assert "Acknowledged." in said(act(client, alert, "acknowledge"))
    assert "You have already acknowledged it." in said(act(client, alert, "acknowledge"))
    assert alert.timeline.filter(kind="acknowledged").count() == 1


def test_forms_answer_at_their_fields(alert, ana, person):
    elsewhere = factories.UserFactory()
    stakeholder = person("Stan", kind="stakeholder")
    client = browser(ana)
    for wrong in ("", "x", elsewhere.pk, stakeholder.pk, "9" * 30, "\x00"):
        response = act(client, alert, "assign", user=wrong)
        assert response.status_code == 400
        assert response.context["assign_form"].errors["user"]
    assert act(client, alert, "reply", text="  ").context["reply_form"].errors["text"]
    assert act(client, alert, "reply", text="a\x00b").status_code == 400
    assert act(client, alert, "close", **{"close-reason": "x" * 201}).context["close_form"].errors["reason"]
    assert act(client, alert, "dance").status_code == 404
    assert Alert.objects.get(pk=alert.pk).status == "open"


def test_actions_ask_for_the_csrf_token(alert, ana):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ana)
    response = act(client, alert, "close")
    assert response.status_code == 403
    assert "This form is too old" in response.content.decode()


def test_the_open_page_learns_that_the_alert_changed(alert, ana, now):
    client = browser(ana)
    [path] = re.findall(r'data-refresh="([^"]+)"', client.get(f"/alerts/{alert.pk}/").content.decode())

    def fragment():
        return client.get(path).content.decode()

    unchanged = fragment()
    # What can be done is not sent again while it is the same: it lists everybody to whom it could be assigned.
    assert 'id="alert-do"' not in unchanged
    assert "<html" not in unchanged
    alerts.acknowledge(alert, actor=ana, now=now)
    assert "Acknowledged by Ana" in fragment()
    assert ">Acknowledge</button>" not in fragment()
    assert ">Assign to me</button>" in fragment()
    alerts.close(alert, actor=ana, now=now)
    closed = fragment()
    assert "Closed: Nightly backup is silent" in closed
    assert ">Assign to me</button>" not in closed
    assert "Note…" in closed


@pytest.fixture
def paged(organization, ana, now):
    from tests.integration.escalation.posting import page

    steps = [{"role": "primary", "retries": 3}]
    policy = factories.PolicyFactory(organization=organization, name="Nights", steps=steps)
    page(organization, policy=policy, users=[ana], name="backup", now=now)
    return Alert.objects.get(run__isnull=False)


def test_more_people_are_asked_for_help_from_the_page(paged, ana, person, organization):
    zoe, stranger = person("Zoe"), factories.UserFactory()
    client = browser(ana)
    shown = client.get(f"/alerts/{paged.pk}/").content.decode()
    assert "Add responders…" in shown
    assert "Reassign…" in shown
    refused = act(client, paged, "responders")
    assert refused.status_code == 400
    assert "Choose people, groups or a response play" in refused.content.decode()
    assert act(client, paged, "responders", **{"responders-users": [stranger.pk]}).status_code == 400
    answer = act(client, paged, "responders", **{"responders-users": [zoe.pk]})
    assert (answer.status_code, said(answer)) == (302, "They are notified now.")
    assert paged.notifications.get(user=zoe).asked_for


def test_an_alert_is_reassigned_from_the_page(paged, ana, person, organization):
    group = factories.GroupFactory(organization=organization, name="Network", primary=[person("Nina")])
    client = browser(ana)
    assert "Choose groups or an escalation policy" in act(client, paged, "reassign").content.decode()
    answer = act(client, paged, "reassign", **{"reassign-groups": [group.pk]})
    assert said(answer).startswith("Reassigned: the escalation starts again.")
    late = act(client, paged, "take", seen="assigned:5")
    assert "Ana has reassigned this alert" in said(late)


def test_what_changed_under_way_leads_to_what_it_follows_for_those_who_may_see_that(paged, ana, person, now):
    from escalation.policies.policies import update_policy

    policy = paged.run.policy
    update_policy(policy, actor=None, now=now, repeats=1)
    link = f"/admin/escalation/escalationpolicy/{policy.pk}/change/"
    assert link in browser(person("Olga", "Owner")).get(f"/alerts/{paged.pk}/").content.decode()
    theirs = browser(ana).get(f"/alerts/{paged.pk}/").content.decode()
    assert "was changed; this escalation goes on as it began" in theirs
    assert link not in theirs
