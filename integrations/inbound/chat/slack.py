"""Slack: what its requests say, and how our messages look there (pure).

Source: Slack, "Slash commands", "Handling user interaction", "Events API", "Formatting text" and "chat.postMessage".
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from alerting.states import Action
from heartbeat_project.kernel.ids import read_id
from integrations.inbound.chat.manifest_names import SHORTCUT
from integrations.inbound.chat.requests import (
    MAX_URL,
    OURS,
    Challenge,
    ChatRequest,
    Origin,
    name_in,
    object_in,
    storable,
    text_in,
)
from integrations.inbound.chat.wire import form, is_at, json_object

API: Final = "https://slack.com/api"
HOOKS: Final = "https://hooks.slack.com"
MAX_SECTION: Final = 2_900  # characters of a section; Slack takes 3,000
_ALERT_BUTTON: Final = "heartbeat.alert."
_PAGE_BUTTON: Final = "heartbeat."
_SUBTYPES: Final = frozenset({"", "bot_message", "file_share", "me_message", "thread_broadcast"})
# <@U012AB|ann>, <#C012AB|ops>, <!here>, <https://x.org|label>
_MARKUP: Final = re.compile(r"<([@#!]?)([^<>|]{1,2000})(?:\|([^<>]{0,2000}))?>")
_MENTION: Final = re.compile(r"^\s*(?:<@[A-Z0-9]{1,30}(?:\|[^<>]{0,100})?>\s*)+")
_DOMAIN: Final = re.compile(r"[a-z0-9-]{1,63}")
_TIMESTAMP: Final = re.compile(r"\d{1,12}\.\d{1,9}", re.ASCII)
# Errors that pass; all others are about the message or our account. Source: Slack, "chat.postMessage", Errors.
PASSING_ERRORS: Final = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
)


def read(raw: bytes, *, api_base: str) -> ChatRequest | Challenge | None:
    """Return what a signed request says; None for what asks for nothing, or makes no sense."""
    if raw.lstrip()[:1] == b"{":
        return _event(json_object(raw) or {})
    fields = form(raw) or {}
    if "payload" in fields:
        return _interaction(json_object(fields["payload"]) or {}, api_base=api_base)
    return _command(fields, api_base=api_base) if fields.get("command") else None


def plain(text: str) -> str:
    """Return Slack's mrkdwn as people read it."""
    text = _MARKUP.sub(_unmarked, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _unmarked(match: re.Match[str]) -> str:
    sign, target, label = match.groups()
    if sign in {"@", "#"}:
        return f"{sign}{label or target}"
    if sign == "!":
        return label or f"@{target.partition('^')[0]}"
    return f"{label} ({target})" if label and label != target else target


def _command(fields: Mapping[str, str], *, api_base: str) -> ChatRequest:
    return ChatRequest(
        platform="slack",
        origin=Origin.COMMAND,
        id=name_in(fields, "trigger_id"),
        text=plain(text_in(fields, "text")),
        channel=name_in(fields, "channel_id"),
        channel_name=name_in(fields, "channel_name"),
        member=_member(name_in(fields, "team_id"), name_in(fields, "user_id")),
        member_name=name_in(fields, "user_name"),
        answer_at=_answer_at(fields, api_base=api_base),
    )


def _interaction(payload: Mapping[str, Any], *, api_base: str) -> ChatRequest | None:
    user, channel, team = object_in(payload, "user"), object_in(payload, "channel"), object_in(payload, "team")
    about: dict[str, Any] = {
        "platform": "slack",
        "id": name_in(payload, "trigger_id"),
        "channel": name_in(channel, "id"),
        "channel_name": name_in(channel, "name"),
        "member": _member(name_in(team, "id") or name_in(user, "team_id"), name_in(user, "id")),
        "member_name": name_in(user, "username") or name_in(user, "name"),
        "answer_at": _answer_at(payload, api_base=api_base),
    }
    if payload.get("type") == "message_action" and payload.get("callback_id") == SHORTCUT:
        message = object_in(payload, "message")
        timestamp = _timestamp(message, "ts")
        return ChatRequest(
            **about,
            origin=Origin.SHORTCUT,
            text=_text_of(message),
            message=timestamp,
            thread=_timestamp(message, "thread_ts") or timestamp,
            permalink=_permalink(name_in(team, "domain"), about["channel"], timestamp),
        )
    return _press(payload, about) if payload.get("type") == "block_actions" else None


def _press(payload: Mapping[str, Any], about: Mapping[str, Any]) -> ChatRequest | None:
    pressed = payload.get("actions")
    first = pressed[0] if isinstance(pressed, list) and pressed and isinstance(pressed[0], Mapping) else {}
    name, value = name_in(first, "action_id"), name_in(first, "value")
    # Each press has a time stamp of its own, and keeps it if it is sent again.
    more = {**about, "id": f"{name_in(first, 'action_ts')} {about['member']}", "origin": Origin.BUTTON}
    for prefix in (_ALERT_BUTTON, _PAGE_BUTTON):
        action = name.removeprefix(prefix)
        if name.startswith(prefix) and action in set(Action):
            if prefix == _ALERT_BUTTON:
                return ChatRequest(**more, action=action, alert=read_id(value))
            return ChatRequest(**more, action=action, page_token=value)
    return None


def _event(body: Mapping[str, Any]) -> ChatRequest | Challenge | None:
    if body.get("type") == "url_verification":
        return Challenge(name_in(body, "challenge", limit=500))
    event = object_in(body, "event")
    kind = event.get("type")
    subtype = event.get("subtype") or ""
    if body.get("type") != "event_callback" or kind not in {"app_mention", "message"} or subtype not in _SUBTYPES:
        return None
    own_app = name_in(body, "api_app_id")
    if own_app and own_app in {name_in(event, "app_id"), name_in(object_in(event, "bot_profile"), "app_id")}:
        return None
    timestamp, channel = _timestamp(event, "ts"), name_in(event, "channel")
    text = _text_of({**event, "text": _MENTION.sub("", text_in(event, "text"))})
    if not timestamp or text.startswith(OURS):
        return None
    return ChatRequest(
        platform="slack",
        origin=Origin.MENTION if kind == "app_mention" else Origin.MESSAGE,
        id=f"{channel} {timestamp}",
        text=text,
        channel=channel,
        member=_member(name_in(body, "team_id"), name_in(event, "user")),
        message=timestamp,
        thread=_timestamp(event, "thread_ts"),
        permalink=_permalink("", channel, timestamp),
    )


def _text_of(message: Mapping[str, Any]) -> str:
    text = text_in(message, "text")
    attachments = message.get("attachments")
    if not text and isinstance(attachments, list) and attachments and isinstance(attachments[0], Mapping):
        text = text_in(attachments[0], "text") or text_in(attachments[0], "fallback")
    return plain(text)


def _member(team: str, user: str) -> str:
    return f"{team}:{user}" if team and user else user


def _timestamp(fields: Mapping[str, Any], key: str) -> str:
    value = name_in(fields, key)
    return value if _TIMESTAMP.fullmatch(value) else ""


def _answer_at(fields: Mapping[str, Any], *, api_base: str) -> str:
    """Return the address for late answers if it is one of Slack's, or of the configured API."""
    url = name_in(fields, "response_url", limit=MAX_URL)
    return url if is_at(url, HOOKS, api_base, hooks_of(api_base)) else ""


def hooks_of(api_base: str) -> str:
    """Return where the late answers of another Slack go, such as that for governments; "" without one."""
    host = urlsplit(api_base).hostname if api_base.startswith("https://") else ""
    return f"https://hooks.{host}" if host else ""


def _permalink(domain: str, channel: str, timestamp: str) -> str:
    if not (timestamp and channel.isalnum() and channel.isascii()):
        return ""
    host = f"{domain}.slack.com" if _DOMAIN.fullmatch(domain) else "slack.com"
    return f"https://{host}/archives/{channel}/p{timestamp.replace('.', '')}"


# -- what we write ----------------------------------------------------------------------------------------------------
def escaped(text: str) -> str:
    """Return a text in which nothing notifies a channel or becomes a link by its name."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def answer(text: str) -> dict[str, Any]:
    """Return an answer that only the person sees who asked; messages stay as they are."""
    return {"response_type": "ephemeral", "replace_original": False, "text": escaped(text)}


def post(
    text: str,
    *,
    channel: str,
    thread: str = "",
    buttons: Sequence[tuple[Action, str]] = (),
    alert: int | None = None,
    url: str = "",
) -> dict[str, Any]:
    """Return the arguments of chat.postMessage; the buttons act on the alert, and one more leads to its page."""
    marked = escaped(text)
    message: dict[str, Any] = {
        "channel": channel,
        "text": f"{OURS}{marked}",
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if thread:
        message["thread_ts"] = thread
    if buttons:
        elements: list[dict[str, Any]] = [
            {
                "type": "button",
                "action_id": f"{_ALERT_BUTTON}{action}",
                "value": str(alert),
                "text": {"type": "plain_text", "text": caption},
                **({"style": "primary"} if action is Action.ASSIGN else {}),
            }
            for action, caption in buttons
        ]
        page = {
            "type": "button",
            "action_id": "heartbeat.page",
            "url": url,
            "text": {"type": "plain_text", "text": "More"},
        }
        section = {"type": "section", "text": {"type": "mrkdwn", "text": f"{OURS}{storable(marked)[:MAX_SECTION]}"}}
        message["blocks"] = [section, {"type": "actions", "elements": [*elements, page]}]
    return message
