"""Phones in stories: what Twilio was given, what it reports, which keys are pressed; all of it over the true wire."""

from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from accounts.models.contact_methods import ContactMethod
from tests.providers.twilio import Twilio, signature
from tests.world import World

BASE = "https://heartbeat.example.org"
KINDS = {"SM": "sms", "CA": "voice"}


def text_of(twiml: str) -> str:
    """Return what a TwiML document says."""
    return " ".join("".join(say.itertext()) for say in ET.fromstring(twiml.encode()).iter("Say"))


class Phones:
    """The phones of a world's people: `twilio` is the fake provider, `client` the one who brings its requests."""

    def __init__(self, world: World, twilio: Twilio, client) -> None:
        self.world, self.twilio, self.client = world, twilio, client
        self._looked_at = 0

    def give(self, who: str, kind: str, number: str, *, delay: float = 0, **fields) -> ContactMethod:
        """Give somebody a verified number for `sms` or `voice`, used so many minutes after a step reaches them."""
        person = self.world.person(who)
        return person.contact_methods.create(
            kind=kind,
            label=fields.pop("label", kind),
            address=number,
            delay_minutes=delay,
            verified_at=self.world.now,
            position=person.contact_methods.count(),
            **fields,
        )

    def expect(self, kind: str, number: str) -> dict[str, str]:
        """Assert that the next message to any phone is an `sms` or `voice` to this number; return its form."""
        assert self._looked_at < len(self.twilio.taken), f"nothing is left; expected {kind} to {number}"
        form = self.twilio.taken[self._looked_at]
        self._looked_at += 1
        assert (KINDS[form["sid"][:2]], form["To"]) == (kind, number)
        return form

    def expect_any(self, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
        """Assert that the next messages are exactly these, in any order, and return their forms."""
        forms = self.twilio.taken[self._looked_at : self._looked_at + len(wanted)]
        self._looked_at += len(forms)
        found = {(KINDS[form["sid"][:2]], form["To"]): form for form in forms}
        assert found.keys() == wanted
        return found

    def expect_nothing_else(self) -> None:
        """Assert that nothing else went to any phone, and nothing else by mail."""
        left = [(form["sid"][:2], form["To"]) for form in self.twilio.taken[self._looked_at :]]
        assert not left, left
        self.world.expect_nothing_else()

    def report(self, message: dict[str, str], **fields: str) -> None:
        """Report what became of a message, as Twilio does: to the address that it was given."""
        name = "CallSid" if message["sid"].startswith("CA") else "MessageSid"
        at = message["AsyncAmdStatusCallback" if "CallStatus" not in fields and name == "CallSid" else "StatusCallback"]
        assert self._post(at, {name: message["sid"], "AccountSid": "AC1", **fields}).status_code == 204

    def press(self, call: dict[str, str], key: str) -> ET.Element:
        """Press a key in a call and return the TwiML that follows."""
        at = next(ET.fromstring(call["Twiml"].encode()).iter("Gather")).get("action")
        response = self._post(at, {"CallSid": call["sid"], "Digits": key})
        assert response.status_code == 200
        return ET.fromstring(response.content)

    def reply(self, number: str, text: str, *, sid: str = "SM-in") -> str:
        """Send an SMS from this number and return what is answered."""
        fields = {"From": number, "Body": text, "MessageSid": sid}
        response = self._post(f"{BASE}/api/v1/responses/twilio/sms/", fields)
        return "".join(ET.fromstring(response.content).itertext())

    def _post(self, url: str, fields: dict[str, str]):
        path = urlsplit(url).path
        return self.client.post(path, fields, headers={"X-Twilio-Signature": signature(url, fields)})
