"""People in chats: who has linked their account, and the requests that Slack and Mattermost send."""

import json
from datetime import timedelta
from urllib.parse import urlencode

from accounts.models.chat_members import ChatMember
from accounts.services.chat_members import scope_of
from escalation.channels.signatures import slack_signature
from heartbeat_project.kernel import clock
from tests.factories.models import WHEN

FORM = "application/x-www-form-urlencoded"
SECRET = "slack-secret"


def known_in_chat(user, member="T1:U0ANA", *, platform="slack", secret=SECRET):
    """Let a member of a chat act for the user, as if they had entered its code."""
    return ChatMember.objects.create(
        organization_id=user.organization_id,
        user=user,
        platform=platform,
        scope=scope_of(platform, secret),
        member=member,
        name=member,
        linked_at=WHEN,
    )


def signed(body: bytes, *, secret=SECRET, age=timedelta()):
    """Return the headers with which Slack signs a body."""
    stamp = str(int((clock.now() - age).timestamp()))
    return {
        "X-Slack-Signature": slack_signature(body, timestamp=stamp, secret=secret),
        "X-Slack-Request-Timestamp": stamp,
    }


def command(text, *, member="U0ANA", trigger="1.2.abc", **fields):
    """Return the body of a slash command."""
    sent = {
        "token": "old",
        "team_id": "T1",
        "team_domain": "shop",
        "channel_id": "C1",
        "channel_name": "ops",
        "user_id": member,
        "user_name": member.lower(),
        "command": "/heartbeat",
        "text": text,
        "response_url": "https://hooks.slack.com/commands/T1/1/x",
        "trigger_id": trigger,
    }
    return urlencode(sent | fields).encode()


def pressed(action, alert, *, member="U0ANA", at="1.5", answer_at="https://hooks.slack.com/actions/T1/1/x", **changes):
    """Return the body of a pressed button of an alert."""
    payload = {
        "type": "block_actions",
        "team": {"id": "T1", "domain": "shop"},
        "user": {"id": member, "username": member.lower(), "team_id": "T1"},
        "channel": {"id": "C1", "name": "ops"},
        "trigger_id": f"{at}.t",
        "response_url": answer_at,
        "actions": [{"action_id": f"heartbeat.alert.{action}", "value": str(alert), "action_ts": at}],
    }
    return urlencode({"payload": json.dumps(payload | changes)}).encode()
