"""What an escalation does next, in words (pure)."""

from datetime import datetime, timedelta, tzinfo

from escalation.engine.walk import Coming
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.wording import moment, one_line


def what_next(coming: Coming | None, *, ends_when: str, at: datetime, zone: tzinfo, may_answer: bool = True) -> str:
    """Say in plain words what happens if nobody does anything; for `ends_when` see Alert.

    People who may not answer read first that they need not do anything.
    """
    beginning = "" if may_answer else "You need not do anything: this is for your information. "
    if coming is None:
        ends = f" or {ends_when}" if ends_when else ""
        taker = "somebody" if may_answer else "somebody who was notified"
        return f"{beginning}Nobody else will be notified. The alert stays open until {taker} takes it{ends}."
    label = one_line(coming.label)
    if coming.at <= at:
        return f"{beginning}If nobody takes it, {label} will be notified now."
    # Half a second more: the wait is said rather too long than too short.
    wait = in_words(coming.at - at + timedelta(milliseconds=500))
    return f"{beginning}If nobody takes it, {label} will be notified in {wait}, at {moment(coming.at, zone=zone)}."
