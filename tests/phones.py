"""A phone that gets SMS from the fake Twilio and answers them, signed as Twilio does."""

from xml.etree import ElementTree as ET

from django.test import Client

from accounts.models.contact_methods import ContactMethod
from tests.providers.twilio import SID, TOKEN, Twilio, signature
from tests.world import World

BASE = "https://heartbeat.example.org"
NUMBER = "+4915112345678"


def use_twilio(settings, server: Twilio) -> None:
    """Let SMS go out over this server, and replies come from it."""
    settings.BASE_URL = BASE
    settings.TWILIO_URL = server.url
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = SID, TOKEN
    settings.TWILIO_FROM = "+15550001111"
    settings.SMS_PROVIDERS = ["twilio"]


class Phone:
    """`number` in the hands of people of a world; each is notified over it at once, and by mail hours later."""

    def __init__(self, world: World, server: Twilio, *, number: str = NUMBER) -> None:
        self.world = world
        self.number = number
        self._server = server
        self._read = self._sent = 0

    def of(self, name: str, **fields) -> ContactMethod:
        """Make it a contact method of this person."""
        person = self.world.person(name)
        person.contact_methods.filter(label="Email-Official").update(delay_minutes=600, position=9)
        given = {"kind": "sms", "label": "SMS-Personal", "address": self.number, "verified_at": self.world.now}
        return ContactMethod.objects.create(user=person, **given | fields)

    def unread(self) -> list[str]:
        """Return what came since it was last looked at."""
        came = [request.form["Body"] for request in self._server.requests if request.form["To"] == self.number]
        unread, self._read = came[self._read :], len(came)
        return unread

    def expect(self, *sayings: str) -> list[str]:
        """Assert that just so many SMS came, each beginning with or saying what is given."""
        unread = self.unread()
        assert len(unread) == len(sayings), unread
        for saying, text in zip(sayings, unread, strict=True):
            assert saying in text, unread
        return unread

    def reply(self, text: str, **fields: str) -> str:
        """Send an SMS to us, and return what is answered."""
        self._sent += 1
        given = {"From": self.number, "Body": text, "MessageSid": f"SM{self._sent:032}", **fields}
        path = "/api/v1/responses/twilio/sms/"
        response = Client().post(path, given, headers={"X-Twilio-Signature": signature(BASE + path, given)})
        assert response.status_code == 200
        return "".join(ET.fromstring(response.content).itertext())
