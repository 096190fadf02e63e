"""A number that a person has already is refused, so that their phone does not ring twice for one alert."""

from html import unescape

import pytest

from tests.stories.phones import Phones
from tests.world import World, minutes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]

NUMBER = "+4915112345670"
ADD = "/profile/contact-methods/add/"
REFUSAL = "This person has this number already, as “My phone”. Use that one, or remove it first."


@pytest.mark.parametrize("written", [NUMBER, "+49 1511 2345670", "+49 (1511) 234-5670"])
def test_the_same_number_is_refused_on_the_page_and_over_the_api_and_rings_once(
    world: World, phones: Phones, client_for, written
):
    ana = world.person("ana")
    phones.give("ana", "sms", NUMBER, label="My phone")
    phones.client.force_login(ana)
    given = {"kind": "sms", "label": "Again", "address": written}
    refused = phones.client.post(ADD, given)
    assert refused.status_code == 400
    assert REFUSAL in unescape(refused.content.decode())
    refused = client_for(ana).post("/api/v1/contact-methods/", given, format="json")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["detail"] == REFUSAL
    assert ana.contact_methods.filter(kind="sms").count() == 1

    backup = world.heartbeat(
        "backup", every=minutes(5), recipients=["ana"], escalation_policy=world.policy(steps=[{"role": "primary"}])
    )
    world.advance(minutes(5))
    phones.expect("sms", NUMBER)
    world.expect_page("ana", about=backup)
    world.advance(minutes(30))
    phones.expect_nothing_else()


def test_the_same_number_may_be_called_too(world: World, phones: Phones):
    ana = world.person("ana")
    phones.give("ana", "sms", NUMBER, label="My phone")
    phones.client.force_login(ana)
    assert phones.client.post(ADD, {"kind": "voice", "label": "Call", "address": NUMBER}).status_code in {302, 303}
    assert ana.contact_methods.filter(address=NUMBER).count() == 2
