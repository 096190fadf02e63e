"""Scenes: what happens, so that each kind of message is sent to each of the four readers that can get it."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from unittest.mock import patch

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.engine.advance import _quarantine as engine_sets_aside
from escalation.engine.manual import ManualAlert, send_alert
from escalation.engine.reviews import _quarantine as reviews_quarantined
from escalation.models.notifications import Notification
from escalation.models.policies import EscalationPolicy
from escalation.notifications.deliver import deliver_due
from escalation.notifications.notices.failing_methods import notify_of_failing
from escalation.notifications.notices.on_call_reminders import remind_before_shifts, set_reminder
from escalation.notifications.notices.shift_changes import send_shift_notices
from escalation.notifications.notices.unreadable_calendars import report_unreadable_calendars
from escalation.notifications.verification import send_code, send_test
from escalation.oncall.absences import create_absence
from escalation.oncall.calendars import read
from escalation.oncall.calendars.fetch import NotFetched
from escalation.oncall.calendars.read import read_due_calendars
from escalation.responses.act import act
from escalation.responses.add_responders import add_responders
from integrations.coverage.watch import watch_coverage
from integrations.heartbeats.daily_lists import send_daily_lists
from integrations.heartbeats.detection import _quarantine as detector_sets_aside
from integrations.heartbeats.outage_mails import mail_recipients
from integrations.heartbeats.outages import move_deadlines, record_outage
from integrations.heartbeats.paging_tests import start_test
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.chats import known_in_chat
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.messages.stage import Stage
from tests.world import minutes, seconds

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
SCENES: Final[dict[str, Callable[[Stage], None]]] = {}


def scene(title: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a scene under the heading that it has in the document."""

    def register(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        SCENES[title] = play
        return play

    return register


# -- what scenes begin with --------------------------------------------------------------------------------------------
def operations(stage: Stage) -> Any:
    """Return a group whose Primary are Ana and Ben, whom Cem covers; Dana is Secondary, Olga its Manager."""
    for name in ("ana", "cem", "olga"):
        stage.reader(name)
    team = stage.world.team("Operations", primary=["ana", "ben"], secondary=["dana"], managers=["olga"])
    away(stage, "ben", "cem")
    return team


def away(stage: Stage, who: str, cover: str) -> None:
    person, other = stage.world.person(who), stage.world.person(cover)
    create_absence(
        person,
        actor=person,
        cover=other,
        starts_at=stage.world.now - DAY,
        ends_at=stage.world.now + 7 * DAY,
        now=stage.world.now,
    )


def watched(stage: Stage, name: str = "Backup of db1", **fields: Any) -> InboundIntegration:
    """Return a heartbeat of an hour that Operations watch, with Sofia as a stakeholder; it pings now."""
    team = fields.pop("team", None) or operations(stage)
    fields.setdefault("escalation_policy", nightly(stage, priority=fields.pop("priority", "high")))
    job = stage.world.heartbeat(name, every=HOUR, recipient_groups=[team], **fields)
    stage.world.ping(job)
    return job


def nightly(stage: Stage, **fields: Any) -> EscalationPolicy:
    """Return the policy that most scenes follow, made when first named.

    Primary, Secondary, Manager, five minutes apart.
    """
    found = EscalationPolicy.objects.filter(organization=stage.world.organization, name="Nightly").first()
    return found or stage.world.policy(name="Nightly", **fields)


def with_stakeholder(stage: Stage) -> dict[str, Any]:
    stage.reader("sofia")
    return {"recipients": ["sofia"]}


def silent(stage: Stage, **fields: Any) -> InboundIntegration:
    """Return a heartbeat that fell silent a second ago, with its pages sent."""
    job = watched(stage, **fields)
    stage.world.advance(HOUR)
    return job


def as_person(stage: Stage, name: str) -> User:
    return stage.world.people[name]


# -- pages -------------------------------------------------------------------------------------------------------------
@scene("Page")
def page(stage: Stage) -> None:
    team = operations(stage)
    bridge = factories.BridgeFactory(organization=stage.world.organization, name="War room")
    stage.reader("sofia")
    watched(stage, team=team, bridge=bridge, recipients=["sofia"])
    stage.act("A heartbeat is silent. Priority High, with a bridge. The Secondary follows after five minutes.")
    stage.world.advance(HOUR)
    stage.look()
    stage.act("Ten minutes later: the last step, the Manager.")
    stage.world.advance(minutes(10))
    stage.look()


@scene("Page that is Critical, and its repeat")
def critical(stage: Stage) -> None:
    team = operations(stage)
    rule = stage.world.policy(
        name="All at once", priority="critical", steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 5}]
    )
    watched(stage, team=team, escalation_policy=rule)
    stage.act("A heartbeat is silent. Priority Critical, no bridge, no step after this one.")
    stage.world.advance(HOUR)
    stage.look()
    stage.act("Five minutes later: the same people once more, since nobody took it.")
    stage.world.advance(minutes(5))
    stage.look()


@scene("Page that is Low, of a job that never pinged")
def low(stage: Stage) -> None:
    team = stage.world.team("Operations", primary=[stage.reader("ana").name.lower()])
    rule = stage.world.policy(name="In time", priority="low", recovery_notice=False, steps=[{"role": "primary"}])
    stage.world.heartbeat("Weekly report", every=timedelta(days=7), recipient_groups=[team], escalation_policy=rule)
    stage.act("A heartbeat that was enabled a week ago and never pinged. Priority Low.")
    stage.world.advance(7 * DAY, at_most_every=HOUR)
    stage.look()


@scene("Page and recovery of many")
def many(stage: Stage) -> None:
    team = operations(stage)
    stage.world.bundle(seconds(5))
    stage.reader("sofia")
    jobs = [
        watched(stage, name, team=team, recipients=["sofia"])
        for name in ("Backup of db1", "Backup of db2", "Import of orders", "Export to the bank")
    ]
    stage.act("Four heartbeats fall silent together.")
    stage.world.advance(HOUR + seconds(10))
    stage.look()
    stage.act("They ping again.")
    for job in jobs:
        stage.world.ping(job)
    stage.world.advance(seconds(10), at_most_every=seconds(1))
    stage.world.advance(seconds(10))
    stage.look()


@scene("Recovery, to people without push")
def recovery_by_mail(stage: Stage) -> None:
    stage.kinds = ()
    recovery(stage)


@scene("Recovery")
def recovery(stage: Stage) -> None:
    job = silent(stage, **with_stakeholder(stage))
    stage.world.advance(minutes(10))
    stage.drop()
    stage.act("The heartbeat pings again, 23 minutes late.")
    stage.world.advance(minutes(13))
    stage.world.ping(job)
    for passing in (1, 70):
        stage.world.advance(seconds(passing))
    stage.look()


@scene("Last resort")
def last_resort(stage: Stage) -> None:
    stage.reader("olga")
    team = stage.world.team("Operations", primary=["ana"])
    User.objects.filter(name="Ana").update(is_active=False)
    stage.act("The only person of the group is deactivated.")
    watched(stage, team=team)
    stage.world.advance(HOUR)
    stage.look()
    stage.act("A heartbeat that names nobody, with a play that names nobody.")
    play = factories.PlayFactory(organization=stage.world.organization, name="All hands, all contacts")
    stage.world.heartbeat("Sync of files", every=HOUR, response_play=play)
    stage.world.advance(HOUR)
    stage.look()


@scene("Last resort of many")
def last_resorts(stage: Stage) -> None:
    stage.reader("olga")
    team = stage.world.team("Operations")
    stage.world.bundle(seconds(5))
    for name in ("Backup of db1", "Backup of db2", "Import of orders"):
        watched(stage, name, team=team)
    stage.act("Three heartbeats fall silent; their group has no members.")
    stage.world.advance(HOUR + seconds(10))
    stage.look()


@scene("Assigned to somebody else, then a reminder")
def assignment(stage: Stage) -> None:
    team = operations(stage)
    job = silent(stage, team=team, escalation_policy=nightly(stage, priority="critical", reopen_after_minutes=60))
    stage.drop()
    stage.act("Dana assigns the alert to Ana.")
    alert = stage.world.alert(job)
    act(
        alert,
        Action.ASSIGN,
        via=CONSOLE,
        actor=stage.world.person("dana"),
        to=as_person(stage, "ana"),
        now=stage.world.now,
    )
    stage.world.advance(seconds(1))
    stage.look()
    stage.act("Ana notes that she looks at it; an hour later nobody has done anything.")
    act(
        stage.world.alert(job),
        Action.REPLY,
        via=CONSOLE,
        actor=as_person(stage, "ana"),
        text="Looking",
        now=stage.world.now,
    )
    stage.world.advance(HOUR + seconds(1))
    stage.look()
    stage.act("What Ana answers to the reminder.")
    stage.sms("7")
    stage.key("", stage.notification_of("ana", "voice"))
    stage.key("7", stage.notification_of("ana", "voice"))
    stage.mail("close: fixed", stage.notification_of("ana", "email"))


@scene("Reminder of many")
def reminders(stage: Stage) -> None:
    team = operations(stage)
    stage.world.bundle(seconds(5))
    for name in ("Backup of db1", "Backup of db2", "Import of orders"):
        watched(stage, name, team=team, escalation_policy=nightly(stage, priority="critical", reopen_after_minutes=60))
    stage.world.advance(HOUR + seconds(10))
    for alert in Alert.objects.order_by("id"):
        act(alert, Action.ASSIGN, via=CONSOLE, actor=as_person(stage, "ana"), now=stage.world.now)
    stage.drop()
    stage.act("Ana has had three alerts for an hour and done nothing with them.")
    stage.world.advance(HOUR + seconds(10))
    stage.look()
    stage.act("What Ana answers.")
    stage.sms("7")


@scene("On call from now on, with alerts that nobody has taken")
def handoff(stage: Stage) -> None:
    for name in ("ana", "cem", "olga"):
        stage.reader(name)
    team = stage.world.team("Operations", primary=["dana", "ana", "ben"], managers=["olga"])
    begins = stage.world.now + HOUR + minutes(3)
    make_shift(team, primary=[stage.world.person("dana")], ends_at=begins, name="Evening")
    night = [as_person(stage, "ana"), stage.world.person("ben")]
    make_shift(team, primary=night, starts_at=begins, name="Night")
    away(stage, "ben", "cem")
    watched(stage, team=team, escalation_policy=nightly(stage, priority="high", steps=[{"role": "primary"}]))
    stage.act("Ana and Ben come on call; Cem covers Ben. One alert is open.")
    stage.world.advance(HOUR + minutes(4))
    stage.look()


@scene("On call from now on, with several alerts")
def handoff_of_many(stage: Stage) -> None:
    stage.reader("ana")
    team = stage.world.team("Operations", primary=["dana", "ana"])
    begins = stage.world.now + HOUR + minutes(3)
    make_shift(team, primary=[stage.world.person("dana")], ends_at=begins, name="Evening")
    make_shift(team, primary=[as_person(stage, "ana")], starts_at=begins, name="Night")
    rule = nightly(stage, priority="high", steps=[{"role": "primary"}])
    for name in ("Backup of db1", "Backup of db2", "Import of orders"):
        watched(stage, name, team=team, escalation_policy=rule)
    stage.act("Ana comes on call while three alerts are open.")
    stage.world.advance(HOUR + minutes(4))
    stage.look()


@scene("Asked for help")
def responders(stage: Stage) -> None:
    team = stage.world.team("Operations", primary=["dana"])
    job = silent(stage, team=team)
    others = [stage.reader("ana"), stage.reader("sofia"), stage.reader("olga")]
    stage.drop()
    stage.act("Dana, who is on call, asks Ana, Sofia and Olga for help.")
    add_responders(
        stage.world.alert(job), via=CONSOLE, actor=stage.world.person("dana"), users=others, now=stage.world.now
    )
    stage.world.advance(seconds(1))
    stage.look()


@scene("A further problem has joined the alert")
def joining(stage: Stage) -> None:
    for name in ("ana", "cem", "sofia", "olga"):
        stage.reader(name)
    team = stage.world.team("Databases", primary=["ana"], managers=["olga"])
    shop = stage.world.api("Shop", recipients=["dana"], group_minutes=10)
    is_database = {"all": [{"path": "alertKey", "op": "starts_with", "value": "db"}]}
    others = [as_person(stage, "cem").pk, as_person(stage, "sofia").pk]
    shop.event_settings.rules = [
        {"when": is_database, "then": {"recipient_groups": [team.pk], "recipient_users": others}}
    ]
    shop.event_settings.save()
    stage.world.post(shop, {"alertKey": "web1", "title": "web1 is down"})
    stage.world.advance(seconds(1))
    stage.drop()
    stage.act("A web server is down, which Dana has. A database is down, too: a rule names its group, Cem and Sofia.")
    stage.world.post(shop, {"alertKey": "db1", "title": "db1 is down"})
    stage.world.advance(seconds(1))
    stage.look()


@scene("Test of paging")
def paging_test(stage: Stage) -> None:
    job = watched(stage, **with_stakeholder(stage))
    stage.act("Dana tests who is notified of a heartbeat.")
    start_test(job, actor=stage.world.person("dana"), now=stage.world.now)
    stage.world.advance(seconds(1))
    stage.look()


@scene("Alert made by hand")
def manual(stage: Stage) -> None:
    team = operations(stage)
    dana = stage.world.person("dana")
    rule = nightly(stage, priority="high", quick_launch=True)
    stage.act("Dana sends an alert with a text.")
    draft = ManualAlert(
        subject="Cooling in room 2 has failed",
        text="28 °C and rising. Please go and look; the facility manager is on the way.",
        escalation_policy=rule,
        recipient_groups=[team],
        recipient_users=[stage.reader("sofia")],
    )
    send_alert(draft, sender=dana, now=stage.world.now)
    stage.world.advance(seconds(1))
    stage.look()
    stage.act("Dana sends an alert without a text, Critical.")
    draft = ManualAlert(subject="Website down", priority="critical", escalation_policy=rule, recipient_groups=[team])
    send_alert(draft, sender=dana, now=stage.world.now)
    stage.world.advance(seconds(1))
    stage.look()


# -- what people answer, and what they are notified
# ------------------------------------------------------------------------
@scene("Answers by SMS")
def answers_by_sms(stage: Stage) -> None:
    stage.kinds = ("sms",)
    silent(stage, **with_stakeholder(stage))
    alert = Alert.objects.get()
    stage.act("Ana, Cem and Sofia answer to the page.")
    stage.sms("what is this?")
    stage.sms("7")
    stage.sms("7")
    stage.sms("8", who="sofia")
    stage.sms("8", who="cem")
    stage.sms("8")
    stage.sms("9")
    stage.sms("6")
    stage.sms("note: disk was full")
    stage.sms(f"9 {alert.pk + 900}", who="cem")
    stage.sms(f"9 {alert.pk}: freed the disk", who="cem")
    stage.sms("8")


@scene("Answers by SMS to many alerts")
def answers_by_sms_to_many(stage: Stage) -> None:
    stage.kinds = ("sms",)
    team = operations(stage)
    stage.world.bundle(seconds(5))
    for name in ("Backup of db1", "Backup of db2", "Import of orders"):
        watched(stage, name, team=team)
    stage.world.advance(HOUR + seconds(10))
    first = Alert.objects.order_by("id")[0]
    stage.act("Ana answers to one message about two alerts; a third came alone before it.")
    stage.sms("7")
    stage.sms(f"7 {first.pk + 1}")
    stage.sms("8")
    stage.sms(f"6 {first.pk + 1}")


@scene("Keys in a call")
def keys(stage: Stage) -> None:
    stage.kinds = ("voice",)
    bridge = factories.BridgeFactory(organization=stage.world.organization, name="War room")
    silent(stage, bridge=bridge, **with_stakeholder(stage))
    notification = stage.notification_of("ana", "voice")
    stage.act("Ana presses keys.")
    for key in ("5", "7", "8", "0", "9", "9"):
        stage.key(key, notification, call=f"CA{key}")
    stage.act("Sofia, a stakeholder, presses keys.")
    stage.key("", stage.notification_of("sofia", "voice"))
    stage.key("8", stage.notification_of("sofia", "voice"))


@scene("Keys in a call about many alerts")
def keys_of_many(stage: Stage) -> None:
    stage.kinds = ("voice",)
    team = operations(stage)
    stage.world.bundle(seconds(5))
    for name in ("Backup of db1", "Backup of db2", "Import of orders"):
        watched(stage, name, team=team)
    stage.world.advance(HOUR + seconds(10))
    notification = stage.notification_of("ana", "voice")
    stage.act("Ana presses keys.")
    stage.key("", notification)
    stage.key("9", notification, call="CA2")
    stage.key("8", notification, call="CA3")
    stage.key("8", notification, call="CA4")


@scene("Buttons in Slack")
def slack(stage: Stage) -> None:
    stage.kinds = ("chat",)
    silent(stage)
    notification = stage.notification_of("ana", "chat")
    for name in ("Ana", "Cem"):
        known_in_chat(User.objects.get(name=name), f"T1:U0{name.upper()}")
    stage.act("Ana, Cem and somebody unknown press the buttons of Ana's message.")
    stage.slack("assign", notification, by="U0NOBODY")
    stage.slack("acknowledge", notification, by="U0ANA")
    stage.slack("escalate", notification, by="U0ANA")
    stage.slack("assign", notification, by="U0CEM")
    stage.slack("close", notification, by="U0ANA")
    stage.slack("close", notification, by="U0CEM")


@scene("Answers by mail")
def answers_by_mail(stage: Stage) -> None:
    stage.kinds = ()
    silent(stage)
    notification = stage.notification_of("ana", "email")
    stage.drop()
    stage.act("Ana answers the mail; each time a mail comes back.")
    stage.mail("Thanks, great", notification)
    stage.mail("assign", notification)
    stage.mail("note: on my way", notification)
    stage.mail("close", notification)
    stage.world.advance(seconds(1))
    stage.look()


# -- contact methods ---------------------------------------------------------------------------------------------------
@scene("Code that confirms an address")
def codes(stage: Stage) -> None:
    stage.reader("ana")
    stage.act("Ana adds contact methods; each gets its code.")
    methods = ContactMethod.objects.exclude(kind="email").order_by("position")
    methods.update(verified_at=None)
    with patch("accounts.services.contact_methods.secrets.randbelow", return_value=123_456):
        for method in methods:
            send_code(method.pk, now=stage.world.now)
    stage.look()
    stage.act("A group's mailbox is added.")
    team = stage.world.team("Operations", primary=["ana"])
    mailbox = stage.world.share(team, "ops@example.com", verified_at=None)
    with patch("accounts.services.contact_methods.secrets.randbelow", return_value=123_456):
        send_code(mailbox.pk, now=stage.world.now)
    stage.look()


@scene("Test of an address")
def tests(stage: Stage) -> None:
    stage.reader("ana")
    stage.act("Ana asks for a test of each contact method.")
    for method in ContactMethod.objects.order_by("position"):
        send_test(method.pk, now=stage.world.now)
    stage.look()
    stage.act("Somebody tests a group's mailbox.")
    team = stage.world.team("Operations", primary=["ana"])
    send_test(stage.world.share(team, "ops@example.com").pk, now=stage.world.now)
    stage.look()


# -- notices by mail ---------------------------------------------------------------------------------------------------
@scene("Shifts: put on one, changed, cover, reminder")
def shifts(stage: Stage) -> None:
    stage.kinds = ()
    for name in ("ana", "cem"):
        stage.reader(name)
    rita = stage.world.person("rita", roles=["App Admin"])
    team = stage.world.team("Operations", primary=["ana", "cem", "ben"])
    now = stage.world.now
    stage.act("Rita puts Ana and Cem on a weekly rotation.")
    make_rotation(team, primary=[as_person(stage, "ana"), as_person(stage, "cem")], name="Weekly", now=now)
    stage.world.advance(minutes(5))
    send_shift_notices(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()
    stage.act("Rita changes a shift on which Ana is.")
    shift = make_shift(
        team,
        primary=[as_person(stage, "ana")],
        name="Holiday",
        starts_at=now + 9 * DAY,
        ends_at=now + 10 * DAY,
        now=stage.world.now,
    )
    stage.world.advance(minutes(6))
    send_shift_notices(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.drop()
    from escalation.oncall.shifts import update_shift

    update_shift(shift, actor=rita, now=stage.world.now, ends_at=now + 11 * DAY)
    stage.world.advance(minutes(6))
    send_shift_notices(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()
    stage.act("Ben enters that he is out of office, with Cem as his cover.")
    make_absence(
        stage.world.person("ben"),
        as_person(stage, "cem"),
        starts_at=now + DAY,
        ends_at=now + 8 * DAY,
        now=stage.world.now,
    )
    stage.world.advance(minutes(6))
    send_shift_notices(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()
    stage.act("Twelve hours before an on-call shift begins: Ana's own, and one that Cem takes for Ben.")
    make_shift(
        stage.world.team("Databases", primary=["ana", "ben"]),
        primary=[as_person(stage, "ana"), stage.world.person("ben")],
        name="Night",
        starts_at=now + 2 * DAY,
        ends_at=now + 2 * DAY + 9 * HOUR,
        is_override=True,
    )
    from escalation.models.on_call import ShiftNotice

    ShiftNotice.objects.all().delete()
    stage.world.now = now + 2 * DAY - 12 * HOUR
    for name in ("ana", "cem"):
        set_reminder(stage.world.person(name), hours=Decimal(12))
    remind_before_shifts(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()


@scene("A calendar that cannot be read")
def calendar(stage: Stage) -> None:
    stage.kinds = ()
    stage.reader("olga")
    team = stage.world.team("Operations", primary=["ana"], managers=["olga"])
    make_shift(
        team, kind="calendar", calendar_url="https://example.com/standby.ics", name="Standby", now=stage.world.now
    )

    def fetch(url: str, **_: Any) -> bytes:
        raise NotFetched("The calendar's server answered 503 Service Unavailable.")

    stage.act("The calendar of a shift has not answered for half an hour.")
    with patch.object(read, "fetch", fetch):
        for _ in range(40):
            read_due_calendars(now=stage.world.now)
            report_unreadable_calendars(now=stage.world.now)
            stage.world.now += minutes(1)
    deliver_due(now=stage.world.now)
    stage.look()


@scene("Heartbeats that would reach nobody")
def coverage(stage: Stage) -> None:
    stage.kinds = ()
    olga = stage.reader("olga")
    stage.reader("ana")
    empty = stage.world.team("Operations")
    stage.world.heartbeat("Backup of db1", every=HOUR, recipient_groups=[empty])
    other = stage.world.team("Databases", primary=["dana"], managers=["ana"])
    make_shift(other, primary=[stage.world.person("dana")], name="Week 10", ends_at=stage.world.now + 20 * HOUR)
    rule = stage.world.policy(name="Primary only", steps=[{"role": "primary"}])
    stage.world.heartbeat("Import of orders", every=HOUR, recipient_groups=[other], escalation_policy=rule)
    stage.act("One heartbeat reaches nobody now, another from tomorrow on; a rota ends.")
    for _ in range(4):
        watch_coverage(now=stage.world.now)
        deliver_due(now=stage.world.now)
        stage.world.now += minutes(5)
    assert olga
    stage.look()


@scene("Contact methods that fail")
def failing(stage: Stage) -> None:
    stage.kinds = ()
    stage.reader("ana")
    stage.reader("olga")
    team = stage.world.team("Operations", primary=["ana"], managers=["olga"])
    phone = ContactMethod.objects.create(
        user=as_person(stage, "ana"),
        kind="sms",
        label="SMS-Personal",
        address="+905320000000",
        position=1,
        verified_at=stage.world.now,
    )
    mailbox = stage.world.share(team, "ops@example.com")
    stage.act("Ana's number was refused three times, and a group's mailbox is gone.")
    since = {"failing_since": stage.world.now, "failed_at": stage.world.now, "failures": 3}
    ContactMethod.objects.filter(pk=phone.pk).update(
        failing_reason="Twilio: 400: The 'To' number is not a valid phone number. (code 21211)", **since
    )
    ContactMethod.objects.filter(pk=mailbox.pk).update(failing_reason="550 5.1.1 no such user", **since)
    stage.world.now += minutes(2)
    notify_of_failing(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()
    from escalation.notifications.notices.failing_methods import _notify_of_our_fault

    stage.act("Eleven numbers are refused within minutes: that is the sender's fault.")
    _notify_of_our_fault(
        "sms",
        list(ContactMethod.objects.filter(pk=phone.pk).select_related("user")),
        organization_id=stage.world.organization.pk,
        number=11,
        now=stage.world.now,
    )
    deliver_due(now=stage.world.now)
    stage.look()


@scene("We could not receive pings")
def outage(stage: Stage) -> None:
    stage.kinds = ()
    stage.reader("olga")
    stage.reader("ana")
    team = stage.world.team("Operations", primary=["ana"])
    jobs = [stage.world.heartbeat(name, every=DAY, recipient_groups=[team]) for name in ("Backup of db1", "Import")]
    for job in jobs:
        stage.world.ping(job)
    stage.act("Heartbeat was not running for 48 minutes, in which two daily jobs were expected.")
    stage.world.now += DAY
    record_outage(started_at=stage.world.now - minutes(48), ended_at=stage.world.now, refused_pings=12)
    move_deadlines(now=stage.world.now)
    mail_recipients(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()


@scene("Closed by hand, and still silent")
def closed_but_silent(stage: Stage) -> None:
    stage.kinds = ()
    for name in ("ana", "olga"):
        stage.reader(name)
    team = stage.world.team("Operations", primary=["ana"])
    job = silent(stage, team=team)
    other = stage.world.heartbeat("Import of orders", every=HOUR, recipient_groups=[team])
    stage.world.advance(HOUR)
    ana = stage.world.person("ana")
    act(stage.world.alert(job), Action.CLOSE, via=CONSOLE, actor=ana, reason="migrated to db7", now=stage.world.now)
    stage.drop()
    stage.act("At eight in the morning: one heartbeat.")
    stage.world.now = stage.world.now.replace(hour=8, minute=0)
    send_daily_lists(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()
    stage.act("The next day: two.")
    act(stage.world.alert(other), Action.CLOSE, via=CONSOLE, actor=ana, now=stage.world.now)
    stage.world.now += DAY
    send_daily_lists(now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()


@scene("What Heartbeat itself cannot do")
def quarantine(stage: Stage) -> None:
    stage.kinds = ()
    stage.reader("olga")
    team = stage.world.team("Operations", primary=["ana"])
    job = silent(stage, team=team)
    run = stage.world.alert(job).run
    stage.drop()
    stage.act("An escalation, a reminder and a miss cannot be worked on.")
    error = KeyError("tracks")
    engine_sets_aside(run.pk, error, now=stage.world.now)
    type(run).objects.update(error="")
    reviews_quarantined(run.pk, error, now=stage.world.now)
    detector_sets_aside(job.pk, error, now=stage.world.now)
    deliver_due(now=stage.world.now)
    stage.look()


def kinds_that_were_sent() -> set[str]:
    """Return which kinds of notification the scene wrote."""
    return set(Notification.objects.values_list("kind", flat=True).distinct())
