"""The stage of a scene: people whom every channel reaches, providers that keep what they get, and what was sent."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch
from xml.etree import ElementTree as ET

from django.core import mail
from django.db import connection
from django.test import Client, override_settings

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.models.alerts import Alert
from escalation.channels import push
from escalation.channels.signatures import twilio_signature
from escalation.models.notifications import Notification
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from tests.integration.escalation.posting import bring_mail, press_slack
from tests.providers.push import PushService
from tests.providers.server import Provider
from tests.providers.twilio import SID, TOKEN, Twilio
from tests.world import World

BEGINS: Final = datetime(2026, 3, 2, 23, 0, tzinfo=UTC)  # two in the morning in Istanbul
BASE_URL: Final = "https://heartbeat.example.org"
CHANNELS: Final = ("E-mail", "SMS", "Call", "Push", "Chat", "Webhook", "Apprise")
KINDS: Final = ("sms", "voice", "push", "chat", "webhook", "apprise")
# The first of each has this number, so that the document does not depend on what ran before.
FIRST_ID: Final = 55
READERS: Final = {
    "ana": ("Ana", "on call", "Europe/Istanbul"),
    "cem": ("Cem", "covers Ben", "Europe/Istanbul"),
    "sofia": ("Sofia", "stakeholder", "Europe/Istanbul"),
    "olga": ("Olga", "Owner", "Europe/Berlin"),
}
_SETTINGS: Final[Mapping[str, Any]] = {
    "BASE_URL": BASE_URL,
    "REPLY_ADDRESS": "alerts@reply.example.org",
    "INBOUND_MAIL_SECRET": "mail-secret",
    "SLACK_SIGNING_SECRET": "slack-secret",
    "OUTGOING_ALLOW": [ip_network("127.0.0.1/32")],
    "OUTGOING_TIMEOUT_SECONDS": 5.0,
    "TWILIO_ACCOUNT_SID": SID,
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_FROM": "+15550001111",
    "TWILIO_VOICE_FROM": "+15550001111",
    "SMS_PROVIDERS": ["twilio"],
    "VOICE_PROVIDERS": ["twilio"],
    "APPRISE_SERVICES": frozenset({"json"}),
    "VAPID_PRIVATE_KEY": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
    "SESSION_COOKIE_SECURE": False,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as its reader gets it."""

    channel: str
    reader: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody answered or pressed, and what was said to that."""

    question: str
    answer: str


@dataclass(slots=True)
class Act:
    """Part of a scene: what happens, what is sent because of it, and what is answered."""

    what: str
    sent: list[Sent] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)


class Providers:
    """One server for each kind of wire, for all scenes."""

    def __init__(self) -> None:
        self.twilio = Twilio()
        self.web = Provider()
        self.browsers = {name: PushService() for name in READERS}

    @property
    def all(self) -> list[Provider]:
        return [self.twilio, self.web, *self.browsers.values()]

    def close(self) -> None:
        for provider in self.all:
            provider.close()


@contextmanager
def providers() -> Iterator[Providers]:
    """Have the providers run, and the settings lead to them."""
    made = Providers()
    try:
        with override_settings(**_SETTINGS, TWILIO_URL=made.twilio.url):
            for browser in made.browsers.values():
                browser.key = push.public_key()
            yield made
    finally:
        made.close()


class Stage:
    """A world with four readers, each with every contact method, and what they are sent."""

    def __init__(self, made: Providers) -> None:
        _begin_counting()
        mail.outbox.clear()
        for provider in made.all:
            provider.requests.clear()
        for browser in made.browsers.values():
            browser.shown.clear()
        self.made = made
        self.acts: list[Act] = []
        # What readers have beside their e-mail; a scene about one channel needs no other.
        self.kinds: Collection[str] = KINDS
        self.world = World(now=BEGINS)
        self._readers: set[str] = set()
        self._clock = ExitStack()
        self._clock.enter_context(patch.object(clock, "now", lambda: self.world.now))
        # A slow machine would write what it sends in a later second.
        self._clock.enter_context(
            patch("escalation.notifications.deliver.time", SimpleNamespace(monotonic=lambda: 0.0))
        )
        self.world.organization.name = "Acme"
        self.world.organization.save(update_fields=["name"])

    def close(self) -> None:
        self._clock.close()

    # -- who there is -------------------------------------------------------------------------------------------------
    def reader(self, name: str) -> User:
        """Return one of the four, made when first named, which must be here: elsewhere they would live in UTC."""
        if name in self._readers:
            return self.world.people[name]
        assert name not in self.world.people, f"{name} was named before they were a reader"
        self._readers.add(name)
        _, what, time_zone = READERS[name]
        more: dict[str, Any] = {"kind": User.Kind.STAKEHOLDER, "roles": ()} if what == "stakeholder" else {}
        more |= {"roles": ("Owner",)} if what == "Owner" else {}
        person = self.world.person(name, time_zone=time_zone, **more)
        self._give_channels(name)
        return person

    def _give_channels(self, name: str) -> None:
        phone = f"+9053200000{list(READERS).index(name):02}"
        addresses = {
            "sms": phone,
            "voice": phone,
            "push": self.made.browsers[name].subscription,
            "chat": f"{self.made.web.url}/chat/{name}",
            "webhook": f"{self.made.web.url}/hook/{name}",
            "apprise": f"json://127.0.0.1:{self.made.web.port}/apprise/{name}",
        }
        for position, kind in enumerate(self.kinds, start=1):
            ContactMethod.objects.create(
                user=self.world.people[name],
                kind=kind,
                label=f"{kind.title()}-Personal",
                address=addresses[kind],
                position=position,
                verified_at=BEGINS,
            )

    # -- what happens -------------------------------------------------------------------------------------------------
    def act(self, what: str) -> None:
        """Say what happens now; what is sent from here on belongs to it."""
        self.acts.append(Act(what))

    def look(self) -> None:
        """Take what was sent since the last look into the act."""
        sent = self._taken()
        assert sent, f"nothing was sent: {self.acts[-1]}"
        names = {name for name, (shown, *_) in READERS.items() if any(each.reader == shown for each in sent)}
        assert names <= self._readers, f"{names - self._readers} were sent something before they were readers"
        self.acts[-1].sent += sent

    def drop(self) -> None:
        """Leave out what was sent until now: the scene is about something else."""
        self._taken()

    def sms(self, body: str, *, who: str = "ana") -> None:
        """Answer by SMS."""
        phone = f"+9053200000{list(READERS).index(who):02}"
        fields = {"From": phone, "Body": body, "MessageSid": f"SM{len(self.acts[-1].asked)}{len(self.acts)}"}
        answer = self._twilio("/api/v1/responses/twilio/sms/", fields)
        self.acts[-1].asked.append(Asked(f"SMS “{body}”", "".join(answer.itertext()) or "(no answer)"))

    def key(self, key: str, notification: Notification, *, call: str = "CA1") -> None:
        """Press a key in a call; without one, the call is just answered."""
        path = f"/api/v1/responses/twilio/voice/{tokens.token(notification.message_id or notification.pk)}/"
        answer = self._twilio(path, {"CallSid": call} | ({"Digits": key} if key else {}))
        self.acts[-1].asked.append(Asked(f"key {key}" if key else "no key yet", spoken(answer)))

    def mail(self, line: str, notification: Notification) -> None:
        """Answer by mail."""
        to = tokens.reply_address(notification.message_id or notification.pk)
        sent = f"From: x@example.com\r\nTo: {to}\r\nMessage-ID: <{line}@example.com>\r\n\r\n{line}\r\n"
        _, event = bring_mail(Client(), sent.encode())
        self.acts[-1].asked.append(Asked(f"mail “{line}”", event.result[0]["reason"]))

    def slack(self, action: str, notification: Notification, *, by: str) -> None:
        """Press a button in Slack."""
        with patch("escalation.api.inbound_webhooks._answer_slack"):
            response = press_slack(Client(), notification, action, by=by)
        self.acts[-1].asked.append(Asked(f"button {action}", response.json()["text"]))

    def notification_of(self, who: str, channel: str, *, alert: Alert | None = None) -> Notification:
        """Return the newest notification to this person over this channel."""
        found = Notification.objects.filter(user=self.world.people[who], channel=channel, alert__isnull=False)
        return (found.filter(alert=alert) if alert else found).latest("created_at", "alert_id")

    def _twilio(self, path: str, fields: dict[str, str]) -> ET.Element:
        signature = twilio_signature(BASE_URL + path, {name: [text] for name, text in fields.items()}, token=TOKEN)
        response = Client().post(path, fields, headers={"X-Twilio-Signature": signature})
        return ET.fromstring(response.content)

    # -- what was sent ------------------------------------------------------------------------------------------------
    def _taken(self) -> list[Sent]:
        found = [Sent("E-mail", _whose(message.to[0]), _mail(message)) for message in mail.outbox if _is_read(message)]
        mail.outbox.clear()
        for request in self.made.twilio.requests:
            form = request.form
            if "Body" in form:
                found.append(Sent("SMS", _whose(form["To"]), form["Body"]))
            else:
                found.append(Sent("Call", _whose(form["To"]), spoken(ET.fromstring(form["Twiml"]))))
        for request in self.made.web.requests:
            _, kind, name = request.path.rstrip("/").split("/")
            channel, words = _OF_THE_WEB[kind]
            found.append(Sent(channel, READERS[name][0], words(request.json)))
        for name, browser in self.made.browsers.items():
            found += [
                Sent("Push", READERS[name][0], f"{shown['title']}\n\n{shown['body']}\n\n(opens {shown['url']})")
                for shown in browser.shown
            ]
            browser.shown.clear()
        for provider in self.made.all:
            provider.requests.clear()
        return sorted(
            found, key=lambda each: (CHANNELS.index(each.channel), _ORDER.get(each.reader, 9), shortened(each.text))
        )


_ORDER: Final = {name: number for number, (name, _, _) in enumerate(READERS.values())}


def shortened(text: str) -> str:
    """Return the text with what differs from run to run, and is long, cut short."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"/r/[\w-]{38}", "/r/TOKEN", text)
    return re.sub(r"alerts\+[a-z2-7]{45}@", "alerts+TOKEN@", text)


def spoken(document: ET.Element) -> str:
    """Return what a call says, each sentence that is said again only once, and what it does then."""
    lines = [said.text or "" for said in document.iter("Say")]
    lines += [f"(dials {number.text}, types {number.get('sendDigits')})" for number in document.iter("Number")]
    return "\n".join(dict.fromkeys(lines))


def html_of(message: Any) -> str:
    """Return the HTML part of a mail."""
    return str(next(part.content for part in message.alternatives))


def _mail(message: Any) -> str:
    headers = [f"Subject: {message.subject}"]
    headers += [
        f"{name}: {text}" for name, text in message.extra_headers.items() if name in {"Importance", "X-Priority"}
    ]
    headers += [f"Reply-To: {address}" for address in message.reply_to]
    missing = missing_in_html(message)
    assert not missing, f"The HTML part of “{message.subject}” does not say: {missing}"
    return "\n".join([*headers, "", message.body.rstrip()])


def missing_in_html(message: Any) -> list[str]:
    """Return the sentences of the text part that the HTML part has not; an address stands there in a link."""
    page = re.sub(r"(?s)<style.*?</style>|<title.*?</title>|<[^>]+>", "", html_of(message))
    said = _squeezed(unescape(page))
    text = " ".join(message.body.split("\n-- \n")[0].split())
    sentences = [part for part in re.split(r"(?<=[.?!:])\s", text) if part.endswith((".", "?"))]
    return [part for part in sentences if "https://" not in part and _squeezed(part) not in said]


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _slack(sent: Mapping[str, Any]) -> str:
    text = str(sent["text"])
    for block in sent.get("blocks", ()):
        captions = [f"[{element['text']['text']}]" for element in block.get("elements", ())]
        text += f"\n\n{' '.join(captions)}" if captions else ""
    return text


def _apprise(sent: Mapping[str, Any]) -> str:
    return f"{sent['title']}\n\n{sent['message']}"


_OF_THE_WEB: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "chat": ("Chat", _slack),
    "hook": ("Webhook", lambda sent: json.dumps(sent, ensure_ascii=False, indent=2)),
    "apprise": ("Apprise", _apprise),
}


def _is_read(message: Any) -> bool:
    """Return whether a mail is to one of the four, or to what a group shares."""
    return message.to[0].partition("@")[0] in {*READERS, "ops"}


def _whose(address: str) -> str:
    """Return the reader's name where it is one of the four, or else the address."""
    found = re.fullmatch(r"(\w+)@example\.com|\+9053200000(\d\d)", address)
    if found is None:
        return address
    name = found[1] or list(READERS)[int(found[2])]
    return READERS[name][0] if name in READERS else name.title()


def _begin_counting() -> None:
    """Let the rows of a scene have the same numbers each time; the transaction takes it back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()"
            " AND sequencename ~ '^(accounts|alerting|escalation|integrations)_'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'ALTER SEQUENCE "{name}" RESTART WITH {FIRST_ID}')
