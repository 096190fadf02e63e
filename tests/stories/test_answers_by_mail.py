"""What comes back by mail: a person's word acts, that of a machine does not, and a part in HTML is read (SMTP out)."""

import pytest

from heartbeat_project.kernel import clock
from tests.integration.escalation.posting import bring_mail
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]


@pytest.fixture(autouse=True)
def answers_come_by_mail(world: World, settings, monkeypatch):
    settings.REPLY_ADDRESS, settings.INBOUND_MAIL_SECRET = "alerts@reply.example.org", "mail-secret"
    monkeypatch.setattr(clock, "now", lambda: world.now)


@pytest.fixture
def page(world: World):
    """Ana was notified of `backup` by the mail that is returned; nobody else follows."""
    policy = world.policy(steps=[{"role": "primary"}])
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], escalation_policy=policy)
    world.advance(minutes(5))
    return world.expect_page("ana", about=backup)


def write(world: World, client, page, text: str, *, headers: str = "Content-Type: text/plain") -> None:
    """Answer a mail to the address that it gives, and let time pass in which an answer could come back."""
    lines = ["From: Ana <ana@example.com>", f"To: {page.reply_to[0]}", f"Message-ID: <{world.now:%H%M%S}@x>", headers]
    _, event = bring_mail(client, "\r\n".join([*lines, "", text, ""]).encode())
    assert event.state == "read", event.fault
    world.advance(seconds(2))


def said_in(message) -> str:
    return " ".join(message.body.split())


@pytest.mark.parametrize("header", ["Auto-Submitted: auto-replied", "Auto-Submitted: auto-generated (ticket 5)"])
def test_what_a_ticket_system_answers_does_nothing_and_is_not_answered(world: World, client, page, header):
    write(world, client, page, "Acknowledged", headers=header)
    assert world.alerts()[0].acknowledged_at is None
    world.advance(minutes(30))


def test_a_mail_in_html_alone_acts_and_the_answer_says_how_to_undo_it(world: World, client, page):
    html = '<div>Assign to me</div><div class="gmail_quote">On Monday Heartbeat wrote: close</div>'
    write(world, client, page, html, headers="Content-Type: text/html; charset=utf-8\r\nAuto-Submitted: no")
    (alert,) = world.alerts()
    assert alert.owner == world.person("ana")
    said = said_in(world.expect_mail("ana", saying="is yours"))
    assert f"#{alert.pk} backup is yours. Nobody else will be notified. To give it back: " in said
    assert f"/alerts/{alert.pk}/" in said
    world.advance(minutes(30))


@pytest.mark.parametrize("text", ["8 servers down, can't take it", "Thanks, great", "Assign it to Ben, not me"])
def test_what_leaves_a_doubt_does_nothing_and_gets_the_words(world: World, client, page, text):
    write(world, client, page, text)
    (alert,) = world.alerts()
    assert (alert.status, alert.acknowledged_at) == ("open", None)
    assert "Nothing was done: your first line was not understood." in said_in(
        world.expect_mail("ana", saying="Nothing was done")
    )
    world.advance(minutes(30))
