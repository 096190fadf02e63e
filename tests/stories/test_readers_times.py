"""Each reader gets times in their own zone; what several people or a program read says that it is in UTC."""

import pytest

from tests.providers.server import Provider
from tests.stories.phones import Phones, text_of
from tests.world import World, minutes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]

SMS, CALL = "+4915112345670", "+4915112345671"


@pytest.fixture
def web():
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def ana(world: World):
    """Ana lives in Auckland, where it is one in the morning of the next day."""
    return world.person("ana", time_zone="Pacific/Auckland")


def silent(world: World, **fields):
    backup = world.heartbeat("backup", every=minutes(5), **fields)
    world.ping(backup)
    world.advance(minutes(5))
    return backup


def test_sms_call_and_mail_have_the_zone_of_their_reader(world: World, phones: Phones, ana):
    phones.give("ana", "sms", SMS)
    phones.give("ana", "voice", CALL)
    backup = silent(world, recipients=["ana"])
    assert "Silent since 01:00:00 (expected by 01:05:00)." in world.expect_page("ana", about=backup).body
    forms = phones.expect_any({("sms", SMS), ("voice", CALL)})
    said = "backup is silent. Expected every 5 minutes, last ping 01:00 on 3 Mar."
    assert said in forms[("sms", SMS)]["Body"]
    call = forms[("voice", CALL)]
    assert said in text_of(call["Twiml"])
    again = "".join(phones.press(call, "1").itertext())
    assert said in again
    phones.expect_nothing_else()


def test_a_persons_chat_has_their_zone_and_a_groups_chat_and_webhooks_say_utc(world: World, phones: Phones, ana, web):
    team = world.team("Ops", primary=["ana"])
    world.share(team, f"{web.url}/room", kind="chat", label="Room")
    for kind in ("chat", "webhook"):
        ana.contact_methods.create(kind=kind, label=kind, address=f"{web.url}/{kind}", verified_at=world.now)
    backup = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=backup)
    sent = {request.path: request.json for request in web.requests}
    assert sorted(sent) == ["/chat", "/room", "/webhook"]
    local = "has not pinged since Tue 3 Mar 2026, 01:00:00 NZDT (expected by Tue 3 Mar 2026, 01:05:00 NZDT)"
    in_utc = "has not pinged since 2026-03-02 12:00:00 UTC (expected by 2026-03-02 12:05:00 UTC)"
    assert local in sent["/chat"]["text"]
    assert in_utc in sent["/room"]["text"]
    assert in_utc in sent["/webhook"]["long_text"]
    assert "last ping 12:00 UTC on 2 Mar." in sent["/webhook"]["short_text"]
    phones.expect_nothing_else()
