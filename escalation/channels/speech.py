"""Texts for calls: no address is read out, and nothing is cut out of a sentence."""

import re
from typing import Final

from django.conf import settings

from heartbeat_project.kernel.wording import one_line

# How our pages are named, by the beginning of their path.
_PAGES: Final = {
    "/profile/contact-methods/": "your contact methods page in Heartbeat",
    "/groups/": "the page of the group in Heartbeat",
    "/alerts/": "the page of the alert in Heartbeat",
    "/r/": "the page of the alert in Heartbeat",
    "/bundles/": "the page of these alerts in Heartbeat",
    "/heartbeats/": "the page of the heartbeat in Heartbeat",
}
_ADDRESS: Final = re.compile(r"https?://\S*[^\s.,;:!?)\]}>'\"”\u2019]")
_LONG_NUMBER: Final = re.compile(r"\d{5,}")
_ALERT_NUMBER: Final = re.compile(r"#(?=\d)")


def speakable(text: str) -> str:
    """Return the text as a voice can say it.

    An address is replaced by the name of its page, a long number is said digit by digit, and "#55" is "number 55".
    """
    text = _ADDRESS.sub(lambda match: _name(match[0]), text)
    text = _LONG_NUMBER.sub(lambda digits: ", ".join(digits[0]), text)
    return _ALERT_NUMBER.sub("number ", text)


def spell(code: str) -> str:
    """Return a code in a form that a voice says slowly: each sign is a sentence."""
    return " ".join(f"{sign}." for sign in code)


def code_call(code: str, *, caller: str, minutes: int) -> str:
    """Return the text of a call with the code that confirms a phone number.

    The code comes late, so that an answering machine is detected before it is said.
    """
    return (
        f"This is Heartbeat, which notifies people of alerts. {caller} wants to be called at this number. If that is "
        "you, take something to write with: the code follows. "
        f"The code is {spell(code)} Once more: {spell(code)} "
        f"Enter it on your contact methods page in Heartbeat within {minutes} minutes. "
        "If this was not you, do nothing: without the code nobody is called here."
    )


def voicemail(subjects: list[str]) -> str:
    """Return the sentence that is left on an answering machine, about the alerts with these subjects.

    It has no code and asks for no key. Without a subject the call was not about an alert.
    """
    if not subjects:
        return "This is Heartbeat, which has a message for you: please sign in to Heartbeat."
    about = speakable(one_line(subjects[0])) if len(subjects) == 1 else f"{len(subjects)} alerts"
    return f"This is Heartbeat with an alert for you, {about}: please look at your other messages."


def _name(address: str) -> str:
    if address != settings.BASE_URL and not address.startswith(f"{settings.BASE_URL}/"):
        return "a link"
    path = address.removeprefix(settings.BASE_URL)
    return next((name for start, name in _PAGES.items() if path.startswith(start)), "Heartbeat")
