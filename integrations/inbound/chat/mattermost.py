"""Mattermost: what its requests say, and how our messages look there (pure).

Source: Mattermost, "Slash commands", "Outgoing webhooks", "Interactive messages" and the API's "Create a post".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from alerting.states import Action
from heartbeat_project.kernel.ids import read_id
from integrations.inbound.chat.requests import MAX_URL, OURS, ChatRequest, Origin, name_in, object_in, text_in
from integrations.inbound.chat.wire import form, is_at, json_object

_SCHEME: Final = "token "
_SPECIAL: Final = "\\`*_{}[]()#+-!|<>~@"


def fields_of(raw: bytes) -> Mapping[str, Any]:
    """Return the fields of a request: a form, or JSON."""
    return (json_object(raw) if raw.lstrip()[:1] == b"{" else form(raw)) or {}


def token_of(fields: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the token that a slash command or a webhook proves itself with."""
    authorization = headers.get("authorization", "")
    if authorization[: len(_SCHEME)].lower() == _SCHEME:
        return authorization[len(_SCHEME) :].strip()
    return name_in(fields, "token", limit=1_000)


def context_of(fields: Mapping[str, Any]) -> tuple[int, str, str]:
    """Return alert, action and signature in the context of a button; the alert is 0 if there is none."""
    context = object_in(fields, "context")
    alert = context.get("alert")
    number = alert if isinstance(alert, int) and not isinstance(alert, bool) else read_id(name_in(context, "alert"))
    return (number or 0) if 0 <= (number or 0) < 2**63 else 0, name_in(context, "action"), name_in(context, "mac")


def is_command(fields: Mapping[str, Any]) -> bool:
    """Return whether this is a slash command, and not an outgoing webhook."""
    return bool(name_in(fields, "command"))


def read(fields: Mapping[str, Any], *, api_base: str) -> ChatRequest | None:
    """Return what a request says whose token is right; None for one of our own messages."""
    text = text_in(fields, "text")
    if text.startswith(OURS):
        return None
    post, word = name_in(fields, "post_id"), name_in(fields, "trigger_word")
    if is_command(fields):
        origin, request_id = Origin.COMMAND, name_in(fields, "trigger_id")
    else:
        origin, request_id = (Origin.MENTION if word else Origin.MESSAGE), post
        text = text.lstrip().removeprefix(word).lstrip(" \t:,") if word else text
    answer_at = name_in(fields, "response_url", limit=MAX_URL)
    return ChatRequest(
        platform="mattermost",
        origin=origin,
        id=request_id,
        text=text,
        channel=name_in(fields, "channel_id"),
        channel_name=name_in(fields, "channel_name"),
        member=name_in(fields, "user_id"),
        member_name=name_in(fields, "user_name"),
        message=post,
        thread=name_in(fields, "root_id"),
        answer_at=answer_at if is_at(answer_at, api_base) else "",
    )


def read_press(fields: Mapping[str, Any]) -> ChatRequest | None:
    """Return which button was pressed, whose context is signed by us; None for an unknown action."""
    alert, action, mac = context_of(fields)
    if action not in set(Action):
        return None
    trigger, member = name_in(fields, "trigger_id"), name_in(fields, "user_id")
    return ChatRequest(
        platform="mattermost",
        origin=Origin.BUTTON,
        id=trigger or mac,
        channel=name_in(fields, "channel_id"),
        channel_name=name_in(fields, "channel_name"),
        member=member,
        member_name=name_in(fields, "user_name"),
        thread=name_in(fields, "post_id"),
        action=action,
        alert=alert,
    )


# -- what we write ----------------------------------------------------------------------------------------------------
def escaped(text: str) -> str:
    """Return a text as it is, in which no character formats, and no name notifies anybody."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)


def answer(text: str) -> dict[str, Any]:
    """Return an answer that only the person sees who asked."""
    return {"response_type": "ephemeral", "text": f"{OURS}{escaped(text)}"}


def comment(text: str) -> dict[str, Any]:
    """Return the answer to a message: a reply below it."""
    return {"response_type": "comment", "text": f"{OURS}{escaped(text)}"}


def press_answer(text: str) -> dict[str, Any]:
    """Return the answer to a pressed button; the message stays as it is."""
    return {"ephemeral_text": escaped(text)}


def post(
    text: str,
    *,
    channel: str,
    thread: str = "",
    buttons: Sequence[tuple[Action, str, Mapping[str, Any]]] = (),
    request_url: str = "",
) -> dict[str, Any]:
    """Return the body of a new post; each button has its signed context."""
    message: dict[str, Any] = {"channel_id": channel, "message": f"{OURS}{escaped(text)}"}
    if thread:
        message["root_id"] = thread
    if buttons:
        actions = [
            {
                # Mattermost takes letters and digits alone in ids.
                "id": f"heartbeat{action}".replace("_", "").replace("-", ""),
                "name": caption,
                "type": "button",
                "integration": {"url": request_url, "context": dict(context)},
            }
            for action, caption, context in buttons
        ]
        message["props"] = {"attachments": [{"text": "", "actions": actions}]}
    return message
