"""What is wrong with this installation, on top of all pages: each with the button that leads to what helps."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.urls import reverse

from accounts.entitlements import Entitlement
from accounts.models.users import User
from accounts.permissions import may
from heartbeat_project.condition import PARTS
from heartbeat_project.kernel.mail import mail_is_stored
from integrations.coverage.watch import uncovered_count
from integrations.heartbeats.selectors import may_preview
from integrations.ping_lane.health import PROCESS_HEALTH

# The parts whose fault lets alerts or messages come late; the others have their places in /readyz and the mails.
LATE_PARTS: Final = ("judging", "listening", "engine", "delivery", "messages")
# For so long a process goes by its last look: five short queries are too many for each page.
LOOKS_EVERY: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One sentence on top of a page, and the button beside it."""

    text: str
    url: str = ""
    label: str = ""
    look: str = ""


@dataclass(slots=True)
class _LastLook:
    """What this process saw last. Two threads that look at once see the same."""

    at: datetime | None = None
    sentences: tuple[str, ...] = ()


_LAST_LOOK: Final = _LastLook()


def troubles_for(user: User, *, now: datetime) -> list[Trouble]:
    """Return what this user is shown: that alerts come late is for everybody, the rest for users who can change it."""
    troubles = [Trouble(text, reverse("ready"), "Details", "bad") for text in late_parts(now=now)]
    if mail_is_stored() and may(user, Entitlement.OUTBOUND_INTEGRATIONS):
        text = (
            "No mail server is set up: e-mail is stored, not sent, and wakes nobody. Set EMAIL_URL (see .env.example) "
            "and restart."
        )
        if may(user, Entitlement.SECURITY):
            troubles.append(Trouble(text, reverse("admin:escalation_storedmail_changelist"), "Stored mail"))
        else:
            troubles.append(Trouble(text, reverse("console:outbound"), "Channels"))
    if may_preview(user) and (count := uncovered_count(user.organization_id)):
        text = f"{count} integrations" if count > 1 else "1 integration"
        text = f"When this was last looked at, {text} would have reached nobody."
        troubles.append(Trouble(text, reverse("console:coverage_gaps"), "Coverage gaps"))
    return troubles


def late_parts(*, now: datetime) -> tuple[str, ...]:
    """Return the sentences about parts whose fault makes alerts or messages late.

    A process that serves pages alone does not know about the others.
    """
    if PROCESS_HEALTH.began_at is None:
        return ()
    last = _LAST_LOOK
    if last.at is not None and timedelta() <= now - last.at < LOOKS_EVERY:
        return last.sentences
    sentences = [PARTS[name](now=now) for name in LATE_PARTS]
    last.sentences = tuple(sentence for sentence in sentences if sentence)
    last.at = now
    return last.sentences
