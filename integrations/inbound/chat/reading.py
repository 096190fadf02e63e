"""What a chat message says as an event: the payload that templates and rules see, and what is read without them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django.db.models import Value
from django.db.models.functions import Lower, Replace

from accounts.models.groups import Group
from integrations.inbound.chat.grammar import MAX_GROUPS, Opening, parse_opening, plain_name
from integrations.inbound.chat.requests import ChatRequest
from integrations.inbound.event import Action, MailReading, ReceivedEvent
from integrations.models.integrations import InboundIntegration

_LABELS: Final = {"slack": "Slack", "mattermost": "Mattermost"}
_MAX_SUBJECT: Final = 300


def platform_label(platform: str) -> str:
    """Return what a platform is called in sentences."""
    return _LABELS.get(platform, "a chat")


def payload_of(request: ChatRequest, *, text: str, user: str) -> dict[str, Any]:
    """Return the payload of an event; `user` is the name of the user who is linked, "" for nobody."""
    return {
        "text": text,
        "platform": request.platform,
        "origin": str(request.origin),
        "channel": {"id": request.channel, "name": request.channel_name},
        "member": {"id": request.member, "name": request.member_name, "user": user},
        "id": request.message or request.id,
        "permalink": request.permalink,
    }


def raw_of(payload: Mapping[str, Any]) -> bytes:
    """Return the payload as it is stored: without the secrets that the platform sent along."""
    return json.dumps(payload, ensure_ascii=False).encode()


def chat_event(integration: InboundIntegration, event: ReceivedEvent) -> ReceivedEvent:
    """Return the event of a Chat integration with what its message says by itself; it always opens."""
    payload = event.payload if isinstance(event.payload, Mapping) else {"text": str(event.payload or "")}
    channel, member = (_object(payload, name) for name in ("channel", "member"))
    platform, permalink = str(payload.get("platform", "")), str(payload.get("permalink", ""))
    opening = parse_opening(str(payload.get("text", "")))
    groups = groups_named(opening, integration.organization_id)
    subject = opening.without(frozenset(groups)) or "(no text)"
    about = f"{platform}:{channel.get('id', '')}:{payload.get('id', '')}"
    keys = {"sourceid": about, "priority": opening.priority, "url": permalink}
    where = f" #{channel['name']}" if channel.get("name") else ""
    who = member.get("user") or member.get("name") or "somebody"
    reading = MailReading(
        action=Action.OPEN,
        keys={name: value for name, value in keys.items() if value},
        text="\n".join(filter(None, [subject, opening.text, permalink])),
        subject=subject[:_MAX_SUBJECT],
        recipient_groups=list(groups.values()),
        opened_by=f"Opened in {platform_label(platform)}{where} by {who}",
    )
    return replace(event, payload=payload, mail=reading)


def groups_named(opening: Opening, organization_id: int) -> dict[str, int]:
    """Return the ids of the groups that a text names, by the names in one word."""
    wanted = {plain_name(name) for name in opening.groups}
    if not wanted:
        return {}
    hyphens = Value("-")
    in_one_word = Lower(Replace(Replace("name", Value(" "), hyphens), Value("_"), hyphens))
    rows = Group.objects.filter(organization_id=organization_id).alias(in_one_word=in_one_word)
    rows = rows.filter(in_one_word__in=sorted(wanted)).order_by("pk")
    return {plain_name(name): pk for name, pk in rows.values_list("name", "pk")[:MAX_GROUPS]}


def _object(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, Mapping) else {}
