"""A link acts as whom it was sent to; where somebody else is signed in, they say first as whom they act."""

import re

import pytest
from django.test import Client

from alerting.models.alerts import TimelineEntry
from escalation.models.responses import Response
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]


@pytest.fixture(autouse=True)
def clock_of(world: World, monkeypatch):
    """Let the pages read the world's clock."""
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: world.now)


@pytest.fixture
def silent(world: World):
    """`backup` is silent, and Ben is notified; Cem may act on all alerts."""
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ben"])
    world.cem = world.person("cem", roles=["App Admin"])
    world.advance(minutes(5))
    world.link = link_in(world.expect_page("ben", about=backup))
    return backup


@pytest.fixture
def as_cem(client, world: World, silent):
    client.force_login(world.cem)
    return client


def link_in(message) -> str:
    return re.findall(r"http://127\.0\.0\.1:8000(/r/[\w-]+)", message.body)[0]


def choice_in(page) -> str:
    """Return the address of the button that acts as whom the link was sent to."""
    return re.findall(r'(?:href|action)="([^"]*chosen_by=[^"]*)"', page)[0].replace("&amp;", "&")


def how(world, about, kind):
    entry = world.alert(about).timeline.filter(kind=kind).latest("id")
    return entry.via, entry.how, str(entry.actor)


def test_nobody_is_signed_in_and_the_page_says_whose_link_it_is(world: World, client, silent):
    page = client.get(world.link).content.decode()
    assert "what you do here is done as <bdi>Ben</bdi>." in page
    said = client.post(world.link, {"action": "assign"}, follow=True).content.decode()
    assert "As <bdi>Ben</bdi>: #" in said
    assert how(world, silent, "assigned") == ("link", "by the link in an e-mail", "Ben")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_whom_it_was_sent_to_is_signed_in_and_is_not_asked(world: World, client, silent):
    client.force_login(world.person("ben"))
    assert 'value="assign"' in client.get(world.link).content.decode()
    assert client.post(world.link, {"action": "assign"}).status_code == 303
    assert how(world, silent, "assigned") == ("link", "by the link in an e-mail", "Ben")


def test_another_is_signed_in_and_nothing_is_done_without_a_choice(world: World, as_cem, silent):
    lines = TimelineEntry.objects.count()
    for query in ("", "?do=assign", "?do=close", "?chosen_by=", "?chosen_by=1", f"?chosen_by={world.person('ben').pk}"):
        page = as_cem.get(world.link + query)
        assert page.status_code == 200
        assert "As Cem or as Ben?" in page.content.decode()
        assert 'value="assign"' not in page.content.decode(), "nothing can be pressed before"
        assert "primary" not in page.content.decode(), "nothing is suggested"
        answer = as_cem.post(world.link + query, {"action": "assign"})
        assert answer.status_code == 409
        assert "Nothing has been changed yet." in answer.content.decode()
    assert (world.alert(silent).status, TimelineEntry.objects.count()) == ("open", lines)
    assert not Response.objects.exists()


def test_as_whom_it_was_sent_to_is_what_the_link_allows_and_the_timeline_says_who_was_there(
    world: World, as_cem, silent
):
    asked = as_cem.get(f"{world.link}?do=acknowledge").content.decode()
    chosen = choice_in(asked)
    page = as_cem.get(chosen).content.decode()
    assert "<strong>Acknowledge?</strong>" in page
    assert "the timeline says that <bdi>Cem</bdi> was signed in" in page
    said = as_cem.post(chosen, {"action": "acknowledge"}, follow=True).content.decode()
    assert "As <bdi>Ben</bdi>: You acknowledged #" in said
    assert how(world, silent, "acknowledged") == ("link", "by the link in an e-mail, while Cem was signed in", "Ben")
    as_cem.force_login(world.cem)
    timeline = as_cem.get(f"/alerts/{world.alert(silent).pk}/").content.decode()
    assert "Acknowledged by Ben (by the link in an e-mail, while Cem was signed in)." in timeline


def test_as_who_is_signed_in_is_what_they_may_in_the_console(world: World, as_cem, silent):
    alert = world.alert(silent)
    page = as_cem.get(world.link).content.decode()
    assert f'href="/alerts/{alert.pk}/">As <bdi>Cem</bdi>' in page
    as_cem.post(f"/alerts/{alert.pk}/take/")
    assert how(world, silent, "assigned") == ("console", "on its page", "Cem")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_what_was_sent_before_the_choice_is_done_with_it(world: World, as_cem, silent):
    asked = as_cem.post(world.link, {"action": "close", "note": "It was <the> disk"}).content.decode()
    assert "As <bdi>Ben</bdi>: Close</span></button>" in asked
    assert 'name="note" value="It was &lt;the&gt; disk"' in asked
    as_cem.post(choice_in(asked), {"action": "close", "note": "It was <the> disk"})
    assert world.alert(silent).close_reason == "It was <the> disk"
    assert how(world, silent, "closed")[1:] == ("by the link in an e-mail, while Cem was signed in", "Ben")


def test_a_choice_holds_for_who_made_it_alone(world: World, as_cem, silent):
    chosen = choice_in(as_cem.get(world.link).content.decode())
    dan = Client()
    dan.force_login(world.person("dan"))
    assert "As Dan or as Ben?" in dan.get(chosen).content.decode()
    assert dan.post(chosen, {"action": "assign"}).status_code == 409
    assert world.alert(silent).status == "open"
    assert Client().get(chosen).status_code == 200, "nobody is signed in: nothing is asked"


def test_who_may_not_see_the_alert_can_only_act_as_whom_it_was_sent_to(world: World, client, silent):
    client.force_login(world.person("dan"))
    page = client.get(world.link).content.decode()
    assert "<bdi>Dan</bdi> may not see this alert" in page
    assert "/alerts/" not in page
    client.post(choice_in(page), {"action": "assign"})
    assert how(world, silent, "assigned")[1:] == ("by the link in an e-mail, while Dan was signed in", "Ben")


def test_the_page_of_a_bundle_asks_too_and_each_of_its_alerts_says_who_was_there(world: World, client):
    world.bundle(seconds(5))
    jobs = [world.heartbeat(f"job {n}", every=minutes(5), recipients=["ben"]) for n in range(4)]
    world.advance(minutes(5) + seconds(5))
    world.expect_page("ben", about=jobs[0])
    link = link_in(world.expect_bundle("ben", about=jobs[1:]))
    client.force_login(world.person("cem", roles=["App Admin"]))
    asked = client.get(link).content.decode()
    assert "As Cem or as Ben?" in asked
    assert f'href="/bundles/{world.alert(jobs[1]).notifications.get().message_id}/"' in asked
    assert client.post(link, {"action": "take-all"}).status_code == 409
    one = f"{link}/{world.alert(jobs[2]).pk}"
    assert client.post(one, {"action": "close"}).status_code == 409
    assert {world.alert(job).status for job in jobs} == {"open"}
    page = client.get(choice_in(asked)).content.decode()
    assert f'href="{one}?chosen_by={world.person("cem").pk}"' in page
    client.post(choice_in(asked), {"action": "take-all"})
    for job in jobs:
        assert how(world, job, "assigned") == ("link", "by the link in an e-mail, while Cem was signed in", "Ben")
    world.advance(minutes(30))
    world.expect_nothing_else()
