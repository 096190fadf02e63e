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
from heartbeat_project.kernel import clock
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


def sections(page):
    return {
        section.slug: [row.alert.subject for row in section.rows]
        for section in page.context["list"].sections
        if section.rows
    }


def test_the_list_has_sections_and_what_is_mine_comes_first(organization, alert, ana, person, now):
    olga = person("Olga", "Owner")
    for subject, priority in (("Low", "low"), ("Urgent", "critical"), ("Middle", "medium")):
        factories.AlertFactory(organization=organization, subject=subject, priority=priority)
    taken = factories.AlertFactory(organization=organization, subject="Taken")
    alerts.assign(taken, actor=ana, to=ana, now=now)
    own = factories.AlertFactory(organization=organization, subject="Own")
    alerts.assign(own, actor=olga, to=olga, now=now)
    held = factories.AlertFactory(organization=organization, subject="Held")
    alerts.hold(held, actor=olga, now=now)
    closed = factories.AlertFactory(organization=organization, subject="Done")
    alerts.close(closed, actor=olga, now=clock.now() - timedelta(hours=23), reason="restarted")
    old = factories.AlertFactory(organization=organization, subject="Long done")
    alerts.close(old, actor=olga, now=clock.now() - timedelta(hours=25))

    page = browser(olga).get("/alerts/")
    assert sections(page) == {
        "mine": ["Own"],
        "open": ["Urgent", "Middle", "Low", alert.subject],
        "taken": ["Taken"],
        "on-hold": ["Held"],
        "closed": ["Done"],
    }
    text = page.content.decode()
    assert "Ana has it" in text
    assert "closed: restarted" in text
    assert (page.context["list"].open_count, page.context["list"].mine_count) == (4, 1)
    # She is notified of the first alert, and has taken another.
    assert sections(browser(ana).get("/alerts/"))["mine"] == ["Taken", alert.subject]


def test_filters_are_in_the_address_and_search_all_states(organization, alert, ana, person, now):
    olga, group = person("Olga", "Owner"), factories.GroupFactory(organization=organization, name="Operations")
    alert.recipients.create(group=group)
    low = factories.AlertFactory(organization=organization, subject="Low one", priority="low", integration_id=77)
    closed = factories.AlertFactory(organization=organization, subject="Long done", opened_at=now - timedelta(days=40))
    alerts.assign(low, actor=olga, to=ana, now=now)
    alerts.close(closed, actor=olga, now=now - timedelta(days=39))
    client = browser(olga)

    def found(query):
        return set(sections(client.get(f"/alerts/?{query}")).get("found", []))

    assert found("q=DONE") == {"Long done"}
    assert found("q=nothing") == set()
    assert found("status=closed") == {"Long done"}
    assert found("priority=low") == {"Low one"}
    assert found(f"group={group.pk}") == {alert.subject}
    assert found(f"owner={ana.pk}") == {"Low one"}
    assert found("integration=77") == {"Low one"}
    assert found(f"until={now - timedelta(days=30):%Y-%m-%d}") == {"Long done"}
    assert "Long done" not in found(f"since={now - timedelta(days=30):%Y-%m-%d}")
    assert found("status=closed&priority=low") == set()
    # The file has the same alerts.
    assert "Long done" in b"".join(client.get("/api/v1/alerts/export/?format=csv&search=done")).decode()
    assert "/api/v1/alerts/export/?format=csv&amp;search=done" in client.get("/alerts/?q=done").content.decode()


def test_old_addresses_of_the_list_lead_to_it(alert, ana):
    client = browser(ana)
    assert client.get("/?tab=on-hold&q=x")["Location"] == "/alerts/?tab=on-hold&q=x"
    assert client.get("/")["Location"] == "/alerts/"
    assert sections(client.get("/alerts/?tab=open")) == {"found": [alert.subject]}
    assert sections(client.get("/alerts/?tab=assigned")) == {}
    assert "mine" in sections(client.get("/alerts/?tab=all"))


def test_a_number_leads_to_its_alert_if_one_may_see_it(alert, ana, person):
    assert browser(ana).get(f"/alerts/?q=%23{alert.pk}")["Location"] == f"/alerts/{alert.pk}/"
    page = browser(person("Ben")).get(f"/alerts/?q=%23{alert.pk}")
    assert f"There is no alert #{alert.pk} that you may see." in page.content.decode()


def test_a_row_says_what_decides(paged, ana, now):
    Alert.objects.filter(pk=paged.pk).update(
        priority="high", expected_at=clock.now() - timedelta(minutes=53, seconds=4)
    )
    rows = browser(ana).get("/alerts/").context["list"].sections[0].rows
    [row] = [row for row in rows if row.alert == paged]
    assert row.lasts == "silent 53 minutes"
    assert row.state.startswith("nobody has it")
    page = browser(ana).get("/alerts/").content.decode()
    assert "rank-high" in page


def test_sixty_alerts_cost_as_many_queries_as_one_and_stand_on_two_pages(organization, alert, person):
    client = browser(person("Olga", "Owner"))

    def queries(query=""):
        with CaptureQueriesContext(connection) as captured:
            found = client.get(f"/alerts/{query}").context["list"]
        return len(captured), found

    one, _ = queries()
    for _ in range(60):
        factories.AlertFactory(organization=organization)
    many, found = queries()
    assert many <= one
    assert many <= 20  # three of them for the parts of the panel, three for drop-downs
    [rows] = [section.rows for section in found.sections if section.rows]
    assert len(rows) == 30
    _, matching = queries("?status=open")
    assert len(matching.sections[0].rows) == 50
    _, older = queries(f"?status=open&before={matching.older}")
    assert (len(older.sections[0].rows), older.older) == (11, None)


def test_an_open_page_gets_the_list_again_only_if_it_differs(alert, ana, organization):
    client = browser(ana)
    first = client.get("/alerts/list/")
    # A minute may end between two of them, and then the times are sent again.
    answers = [
        client.get("/alerts/list/", headers={"X-Heartbeat-Version": first["X-Heartbeat-Version"]}).status_code
        for _ in range(2)
    ]
    assert 204 in answers
    another = factories.AlertFactory(organization=organization)
    another.recipients.create(user=ana)
    changed = client.get("/alerts/list/", headers={"X-Heartbeat-Version": first["X-Heartbeat-Version"]})
    assert (changed.status_code, another.subject in changed.content.decode()) == (200, True)


def tick(client, alerts, action, **fields):
    ids = [f"{alert.pk}:{alert.status}:{alert.owner_id or ''}" for alert in alerts]
    return client.post("/alerts/bulk/", {"ids": ids, "action": action, "next": "/alerts/?q=x", **fields})


def test_several_alerts_are_acknowledged_assigned_and_closed_at_once(organization, ana, person, now):
    client, ben = browser(ana), person("Ben")
    many = [factories.AlertFactory(organization=organization) for _ in range(3)]
    for one in many:
        one.recipients.create(user=ana)
    response = tick(client, many, "acknowledge")
    assert (response["Location"], said(response)) == ("/alerts/?q=x", "Acknowledged: 3 alerts.")
    assert "Assigned to Ben: 2 alerts." in said(tick(client, many[:2], "assign", user=ben.pk))
    assert {Alert.objects.get(pk=one.pk).owner for one in many[:2]} == {ben}
    # Two were shown as open, and are Ben's by now.
    assert "2 alerts stayed as they were: somebody was faster." in said(tick(client, many, "close", reason="over"))
    assert [Alert.objects.get(pk=one.pk).status for one in many] == ["assigned", "assigned", "closed"]
    assert Alert.objects.get(pk=many[2].pk).close_reason == "over"


def test_nobody_acts_on_many_alerts_on_which_they_may_not_act_on_one(organization, alert, ana, person):
    for other in (person("Ben"), person("Vera", "System Viewer"), factories.UserFactory(roles=["Owner"])):
        assert "stayed as it was: you may not act on it" in said(tick(browser(other), [alert], "close"))
    assert said(tick(browser(ana), [], "close")) == "Nothing was changed: tick the alerts first."
    assert "Nothing was changed" in said(tick(browser(ana), [alert], "cancel"))
    assert "Nothing was changed" in said(
        tick(browser(ana), [alert], "assign", user=person("Stan", kind="stakeholder").pk)
    )
    too_many = browser(ana).post(
        "/alerts/bulk/", {"ids": [f"{number}:open:" for number in range(1, 502)], "action": "close"}
    )
    assert said(too_many) == "Nothing was changed: at most 500 alerts at once."
    assert browser(ana).get("/alerts/bulk/").status_code == 405
    alert.refresh_from_db()
    assert alert.status == "open"


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
