"""Slack's interactive buttons: the blocks of a message, and the request that a pressed button causes (pure).

Source: Slack, Block Kit (actions block, button element) and "Handling user interaction in your Slack apps".
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alerting.states import Action

_PREFIX: Final = "heartbeat."
# Slack names the address for each answer; answers are sent to this host alone.
ANSWERS_AT: Final = "https://hooks.slack.com/"


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed button: token of its message, action, the presser as workspace and member, address for the answer."""

    token: str
    action: Action
    presser: str
    answer_at: str


def blocks(text: str, *, token: str, page: str, actions: Collection[tuple[Action, str]]) -> list[dict[str, Any]]:
    """Return a section with the text (Slack's mrkdwn, escaped by the caller) and its buttons.

    `actions` are the allowed ones with their captions; each button carries `token`, and the last one leads to `page`.
    """
    elements: list[dict[str, Any]] = [
        {
            "type": "button",
            "action_id": f"{_PREFIX}{action}",
            "value": token,
            "text": {"type": "plain_text", "text": caption},
            **({"style": "primary"} if action is Action.ASSIGN else {}),
        }
        for action, caption in actions
        if action not in {Action.REPLY, Action.HOLD}
    ]
    link = {
        "type": "button",
        "action_id": f"{_PREFIX}page",
        "url": page,
        "text": {"type": "plain_text", "text": "More"},
    }
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text[:3_000]}}
    return [section, {"type": "actions", "elements": [*elements, link]}]


def read_press(payload: str) -> Press | None:
    """Return which button was pressed; None for everything else that Slack sends, well-formed or not."""
    try:
        sent = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(sent, dict) or sent.get("type") != "block_actions":
        return None
    pressed = sent.get("actions")
    first = pressed[0] if isinstance(pressed, list) and pressed else None
    if not isinstance(first, dict):
        return None
    name, token, answer_at = first.get("action_id"), first.get("value"), sent.get("response_url")
    if not isinstance(name, str) or not isinstance(token, str) or name.removeprefix(_PREFIX) not in set(Action):
        return None
    if not name.startswith(_PREFIX):
        return None
    trusted = isinstance(answer_at, str) and answer_at.startswith(ANSWERS_AT)
    return Press(
        token=token,
        action=Action(name.removeprefix(_PREFIX)),
        presser=member_of(sent),
        answer_at=str(answer_at) if trusted else "",
    )


def member_of(sent: Mapping[str, Any]) -> str:
    """Return who pressed, as workspace and member; "" if the request does not say."""
    user, team = (part if isinstance(part, dict) else {} for part in (sent.get("user"), sent.get("team")))
    member, workspace = user.get("id"), team.get("id") or user.get("team_id")
    if not _is_id(member):
        return ""
    return f"{workspace}:{member}" if _is_id(workspace) else str(member)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isalnum() and len(value) <= 100


def answer(answer_text: str) -> dict[str, Any]:
    """Return an answer that only the presser sees, below the message, which stays as it is."""
    text = answer_text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"response_type": "ephemeral", "replace_original": False, "text": text}
