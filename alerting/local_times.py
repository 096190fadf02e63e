"""The times that the stored texts of an alert say in UTC, in the time zone of their reader (pure)."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from heartbeat_project.kernel.wording import moment, zone


def in_readers_zone(text: str, facts: Iterable[Mapping[str, Any]], *, time_zone: str) -> str:
    """Return a text of an alert with the times of its facts in this time zone.

    It knows the two forms of integrations.heartbeats.wording: “23:00 UTC on 2 Mar” of the short text, which becomes
    “02:00 on 3 Mar”, and “2026-03-02 23:00:00 UTC” of the long one, which becomes “Tue 3 Mar 2026, 02:00:00 UTC+03”.
    No other time is changed: it may be in the name of a heartbeat. For a reader in UTC the text stays as it is.
    """
    readers_zone = zone(time_zone)
    for fact in facts:
        if "at" not in fact:
            continue
        at = datetime.fromisoformat(str(fact["at"])).astimezone(UTC)
        local = at.astimezone(readers_zone)
        if local.tzname() == "UTC":
            continue
        text = text.replace(f"{at:%H:%M} UTC on {at.day} {at:%b}", f"{local:%H:%M} on {local.day} {local:%b}")
        text = text.replace(f"{at:%Y-%m-%d %H:%M:%S} UTC", moment(at, zone=readers_zone))
    return text
