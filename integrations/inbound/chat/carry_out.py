"""Carry out what people write and press in a chat, and write the answer.

Everybody in the channels may open alerts, or only users who have linked their chat account. All else is done with the
rights of the user whom the member has proven to be.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.models.groups import Group
from accounts.models.users import User
from accounts.selectors import nameable_groups
from accounts.services.chat_members import CODE_LIVES, chat_user, issue_code, scope_of
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts, visible_alerts
from alerting.services.alerts import add_viewers
from alerting.states import LIVE, Action
from alerting.via import Via
from escalation.oncall.selectors import on_call_status_of
from escalation.responses import tokens
from escalation.responses.presses import answer_press
from escalation.responses.respond import UNKNOWN_MEMBER
from escalation.responses.respond_as import respond_as
from escalation.responses.selectors import most_urgent_first
from heartbeat_project.kernel.ids import new_token
from heartbeat_project.kernel.wording import clip, one_line
from integrations.inbound.chat.grammar import Command, Kind, parse_command, parse_opening, plain_name
from integrations.inbound.chat.reading import chat_event, groups_named, payload_of, platform_label, raw_of
from integrations.inbound.chat.requests import ChatRequest, Origin
from integrations.inbound.chat.threads import begin_thread
from integrations.inbound.chat_checks import SECRETS
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.receive import receive
from integrations.models.chat import ChatSettings, ChatThread
from integrations.models.integrations import InboundIntegration

LISTED: Final = 10  # alerts, and groups of `who`
_NAME_LENGTH: Final = 80  # characters of an alert's name in a list
_OPENED: Final = frozenset({"opened", "appended", "grouped", "folded", "waiting", "replayed"})
_PAGES_ACTIONS: Final = frozenset({Action.ACKNOWLEDGE, Action.ASSIGN, Action.ESCALATE, Action.CLOSE})


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the person is answered; "" for nothing. `event` and `alert` are set if an event was stored."""

    text: str
    event: int | None = None
    alert: int | None = None
    action: str = ""


def carry_out(integration: InboundIntegration, request: ChatRequest, *, now: datetime) -> ChatAnswer:
    """Carry out a request whose platform is proven; return the answer. Raises IntegrationDeleted."""
    if not _is_allowed(integration.chat_settings, request):
        text = "" if request.origin == Origin.MESSAGE else "Nothing was done: this channel is not among those allowed."
        return ChatAnswer(text)
    scope = scope_of_integration(integration)
    user = chat_user(integration.organization_id, scope=scope, member=request.member)
    if request.origin == Origin.BUTTON:
        return ChatAnswer(press(request, user, scope=scope, integration=integration, now=now))
    if request.origin == Origin.SHORTCUT:
        return _open(integration, request, request.text, user, now=now)
    return _read(integration, request, user, scope=scope, now=now)


def _read(
    integration: InboundIntegration, request: ChatRequest, user: User | None, *, scope: str, now: datetime
) -> ChatAnswer:
    """Carry out what a text asks for."""
    thread = _thread_of(integration, request)
    command = parse_command(request.text, in_thread=thread is not None)
    if request.origin == Origin.MESSAGE and command.kind not in {Kind.OPEN, Kind.ACT}:
        return ChatAnswer("")  # people talk to each other
    if command.kind is Kind.OPEN:
        return _open_text(integration, request, command.text, user, is_in_thread=bool(_parent(request)), now=now)
    if command.kind is Kind.ACT:
        return _act(request, command, thread, user, integration=integration, now=now)
    return ChatAnswer(_answer(integration, request, command, user, scope=scope, now=now))


def scope_of_integration(integration: InboundIntegration) -> str:
    """Return the scope of the members that the integration's platform names."""
    chat = integration.chat_settings
    return scope_of(chat.platform, chat.secrets.get(SECRETS[chat.platform][0], ""))


def press(
    request: ChatRequest, user: User | None, *, scope: str, integration: InboundIntegration | None, now: datetime
) -> str:
    """Carry out what a pressed button asks for, of an alert or of a page; return the answer."""
    action = Action(request.action)
    if request.page_token:
        message_id = tokens.read_button(request.page_token)
        if message_id is None:
            return "This button is not from Heartbeat. Nothing was changed."
        return answer_press(message_id, action, scope=scope, member=request.member, now=now)
    if user is None:
        return UNKNOWN_MEMBER if integration is None else _unknown(integration)
    if request.alert is None or action not in _PAGES_ACTIONS:
        return "This button is not from Heartbeat. Nothing was changed."
    result = respond_as(user, request.alert, action, via=_via(request), reference=f"chat {request.id}", now=now)
    return result.answer_text


def _is_allowed(chat: ChatSettings, request: ChatRequest) -> bool:
    """Return whether the channel may be used; buttons stand where we wrote them, or in messages to a person."""
    if not chat.channels or request.page_token:
        return True
    allowed = {channel.lower() for channel in chat.channels}
    return bool(allowed & {request.channel.lower(), request.channel_name.lower()} - {""})


def _parent(request: ChatRequest) -> str:
    """Return the message below which this one stands; "" for one that stands alone."""
    return "" if request.thread == request.message else request.thread


def _thread_of(integration: InboundIntegration, request: ChatRequest) -> ChatThread | None:
    """Return the thread of an alert in which a message stands."""
    root = _parent(request)
    if not root or not request.channel:
        return None
    threads = ChatThread.objects.filter(integration=integration, channel=request.channel, root=root)
    return threads.order_by("-alert_id").first()


# -- opening ----------------------------------------------------------------------------------------------------------
def _open_text(
    integration: InboundIntegration,
    request: ChatRequest,
    text: str,
    user: User | None,
    *,
    is_in_thread: bool,
    now: datetime,
) -> ChatAnswer:
    """Open an alert if this kind of message does so."""
    if request.origin not in integration.chat_settings.open_from:
        if request.origin == Origin.MESSAGE:
            return ChatAnswer("")
        return ChatAnswer(f"Nothing was done: no alert opens from a {request.origin} here. {_help_hint(integration)}")
    if is_in_thread and request.origin == Origin.MESSAGE:
        return ChatAnswer("")  # people talk about an alert
    return _open(integration, request, text, user, now=now)


def _open(
    integration: InboundIntegration, request: ChatRequest, text: str, user: User | None, *, now: datetime
) -> ChatAnswer:
    chat = integration.chat_settings
    if chat.who_may_open == ChatSettings.WhoMayOpen.LINKED and not (user and user.is_active):
        return ChatAnswer(f"No alert was opened. {_unknown(integration)}")
    if not text.strip():
        return ChatAnswer("No alert was opened: the message has no text.")
    if not request.id:
        # Without an id of the platform, each request is one of its own.
        request = _with_id(request)
    payload = payload_of(request, text=text, user=user.name if user else "")
    event = chat_event(integration, ReceivedEvent(raw=raw_of(payload), received_at=now, payload=payload))
    with transaction.atomic():
        received = receive(integration, event, now=now, external_id=f"{request.platform} {request.id}"[:200])
        first = received.results[0] if received.results else None
        if first is not None and first.alert_id is not None and first.action == "opened":
            if user is not None:
                add_viewers([(first.alert_id, user.pk)])
            begin_thread(integration, first.alert_id, request, now=now)
    if first is None or first.alert_id is None or first.action not in _OPENED:
        reason = first.reason if first else ""
        answer = _not_opened(integration, first.action if first else "", reason)
        return ChatAnswer(answer, event=received.event_id, action=first.action if first else "ignored")
    answer_text = _opened_text(integration, first.alert_id, text, first.action)
    return ChatAnswer(answer_text, event=received.event_id, alert=first.alert_id, action=first.action)


def _with_id(request: ChatRequest) -> ChatRequest:
    return replace(request, id=new_token())


def _opened_text(integration: InboundIntegration, alert_id: int, text: str, action: str) -> str:
    alert = Alert.objects.get(pk=alert_id)
    verb = "opened" if action == "opened" else "has this"
    if action == "replayed":
        verb = "was opened"
    opening = parse_opening(text)
    known = groups_named(opening, integration.organization_id)
    unknown = [name for name in opening.groups if plain_name(name) not in known]
    note = f" There is no group named {', '.join(unknown)}: it was not notified." if unknown else ""
    return f"Alert {_name(alert)} {verb}. {_url(alert_id)}{note}"


def _not_opened(integration: InboundIntegration, action: str, reason: str) -> str:
    if action == "waiting":
        return "No alert is open yet: the delay of the integration has not passed."
    why = {
        "maintenance": f"“{integration.name}” is in maintenance",
        "disabled": f"“{integration.name}” is disabled",
        "rule": "a rule of the integration says so",
    }.get(reason, reason.replace("_", " "))
    return f"No alert was opened: {why}."


# -- actions ----------------------------------------------------------------------------------------------------------
def _act(
    request: ChatRequest,
    command: Command,
    thread: ChatThread | None,
    user: User | None,
    *,
    integration: InboundIntegration,
    now: datetime,
) -> ChatAnswer:
    reply = command.reply
    if reply is None:
        return ChatAnswer(_help(integration))
    number = reply.number
    if number is None and thread is not None:
        number = thread.alert_id
    if request.origin == Origin.MESSAGE and number is None:
        return ChatAnswer("")  # such as “ok”, said to somebody else
    if user is None:
        return ChatAnswer(_unknown(integration))
    if number is None:
        name = request.text.split(maxsplit=1)[0].lower()
        newest = respondable_alerts(user).filter(status__in=sorted(LIVE)).order_by("-pk").first()
        example = f", as in “{name} {newest.pk}” for {_name(newest)}" if newest else ""
        return ChatAnswer(f"Nothing was done: add the number of the alert{example}.")
    if not request.id:
        request = _with_id(request)
    result = respond_as(
        user,
        number,
        reply.action,
        via=_via(request),
        reference=f"chat {request.id}",
        note=reply.note,
        now=now,
    )
    return ChatAnswer(result.answer_text, alert=number, action=str(reply.action))


def _via(request: ChatRequest) -> Via:
    return Via("chat", f"in {platform_label(request.platform)}")


# -- questions --------------------------------------------------------------------------------------------------------
def _answer(
    integration: InboundIntegration,
    request: ChatRequest,
    command: Command,
    user: User | None,
    *,
    scope: str,
    now: datetime,
) -> str:
    if command.kind is Kind.LINK:
        return _link(integration, request, user, scope=scope, now=now)
    if command.kind is Kind.HELP:
        return _help(integration)
    if command.kind is Kind.UNCLEAR:
        text = clip(one_line(command.text), _NAME_LENGTH)
        return f"Nothing was done: “{text}” was not understood. To open an alert with it, begin with “open”."
    if user is None or not user.is_active:
        return _unknown(integration)
    if command.kind is Kind.LIST:
        return _list(user)
    return _who(integration, command.text, user, now=now)


def _link(
    integration: InboundIntegration, request: ChatRequest, user: User | None, *, scope: str, now: datetime
) -> str:
    if not scope or not request.member:
        return "Nothing was done: the platform does not say who you are."
    code = issue_code(
        integration.organization_id,
        platform=request.platform,
        scope=scope,
        member=request.member,
        name=request.member_name,
        now=now,
    )
    minutes = int(CODE_LIVES.total_seconds() // 60)
    linked = f" At present you are {user.name}." if user else ""
    page = f"{settings.BASE_URL}/profile/contact-methods/"
    return f"Your code is {code}. Enter it within {minutes} minutes at {page} and keep it to yourself.{linked}"


def _list(user: User) -> str:
    live = visible_alerts(user).filter(status__in=sorted(LIVE), is_test=False)
    count = live.count()
    if not count:
        return "No alert is open."
    lines = [
        f"{_name(alert)} ({alert.get_status_display()}{f', {alert.owner}' if alert.owner else ''})"
        for alert in most_urgent_first(live).select_related("owner")[:LISTED]
    ]
    more = [f"and {count - LISTED} more: {settings.BASE_URL}/"] if count > LISTED else []
    return "\n".join([*lines, *more])


def _who(integration: InboundIntegration, name: str, user: User, *, now: datetime) -> str:
    """Say who is on call in a group, or in those that the integration notifies."""
    own = nameable_groups(user)
    if name:
        wanted = plain_name(name)
        groups = list(own.filter(name__iexact=name.strip()).order_by("name", "pk")[:LISTED])
        groups = groups or [group for group in own.order_by("name", "pk")[:200] if plain_name(group.name) == wanted]
        if not groups:
            return f"There is no group named {clip(one_line(name), _NAME_LENGTH)} that you may see."
    else:
        through = InboundIntegration.recipient_groups.through
        of_integration = through.objects.filter(inboundintegration=integration, group=OuterRef("pk"))
        groups = list(own.filter(Exists(of_integration)).order_by("name", "pk")[:LISTED])
        groups = groups or list(own.filter(members__user=user).distinct().order_by("name", "pk")[:LISTED])
        if not groups:
            return "Name a group, as in “who network”."
    return "\n".join(_on_call_line(group, now=now) for group in groups)


def _on_call_line(group: Group, *, now: datetime) -> str:
    status = on_call_status_of(group, at=now)
    people = [
        f"{person.cover} for {person.user} ({person.role})" if person.cover else f"{person.user} ({person.role})"
        for person in status.people
    ]
    return f"{group.name}: {', '.join(people) or 'nobody is on call'}"


def _help(integration: InboundIntegration) -> str:
    command = integration.chat_settings.command
    return "\n".join(
        [
            f"“{command} Disk full on db1” opens an alert; in it, !high sets the priority, #group adds a group.",
            f"“{command} list” lists the open alerts, “{command} who” says who is on call.",
            f"“{command} ack 7”, “assign 7”, “escalate 7” and “close 7: note” act on alert 7.",
            f"“{command} link” proves to Heartbeat who you are.",
        ]
    )


def _help_hint(integration: InboundIntegration) -> str:
    return f"Type “{integration.chat_settings.command} help”."


def _unknown(integration: InboundIntegration) -> str:
    command = integration.chat_settings.command
    return (
        "Nothing was changed: Heartbeat does not know who you are. "
        f"Type “{command} link”, and enter the code under My contact methods."
    )


def _name(alert: Alert) -> str:
    return f"#{alert.pk} {clip(one_line(alert.known_as), _NAME_LENGTH)}"


def _url(alert_id: int) -> str:
    return f"{settings.BASE_URL}/alerts/{alert_id}/"
