"""The edits that integrations of all types have in common: names, recipients, the secret URL, and their end."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import models, transaction

from accounts.models.groups import Group
from accounts.models.users import User
from accounts.services.saving import clean_name, replace_rows, unique
from alerting.models.alerts import Alert
from alerting.services.alerts import close_alerts
from alerting.states import LIVE
from escalation.policies.edits import follow_integration
from heartbeat_project.kernel.durations import exactly, minutes
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.ids import new_mail_token, new_token
from integrations.models.events import EventState
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.integrations import FormerToken, InboundIntegration
from integrations.models.labels import clean_description, clean_priority, clean_tags

MAX_MINUTES: Final = Decimal(44_640)  # 31 days
LABELS: Final = ("tags", "description", "priority")
# The fields that integrations of all types have.
COMMON: Final = ("name", "escalation_policy", "response_play", "bridge", "enabled", *LABELS)
RECIPIENTS: Final = ("recipient_groups", "recipient_users")


class IntegrationGone(DomainError):
    """The integration was deleted in the meantime."""

    code = "gone"
    title = "Deleted in the meantime"
    status = 404


def check_common(integration: InboundIntegration, recipients: Mapping[str, list[Any]]) -> None:
    """Clean the name and the labels, and check what integrations of all types have. Raises FieldError."""
    integration.name = clean_name(integration.name)
    integration.tags = clean_tags(integration.tags)
    integration.description = clean_description(integration.description)
    integration.priority = clean_priority(integration.priority)
    if not integration.escalation_policy and not integration.response_play:
        raise FieldError("escalation_policy", "Choose an escalation policy or a response play.", code="required")
    if integration.escalation_policy and integration.response_play:
        text = "Choose an escalation policy or a response play, not both."
        raise FieldError("escalation_policy", text, code="invalid")
    related: dict[str, list[Any]] = {
        "escalation_policy": [integration.escalation_policy],
        "response_play": [integration.response_play],
        "bridge": [integration.bridge],
        **recipients,
    }
    for field, rows in related.items():
        if any(row is not None and row.organization_id != integration.organization_id for row in rows):
            raise FieldError(field, "There is no such object.", code="does_not_exist")


def save_named(integration: InboundIntegration) -> None:
    """Save the integration. Raises FieldError if another of the organization has its name, whatever the case."""
    message = f"There is already an inbound integration named “{integration.name}”. Choose another name."
    with unique("integration_name_unique", field="name", message=message):
        integration.save()


def read_recipients(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the recipients among the values of a change, by field."""
    return {field: list(values[field]) for field in RECIPIENTS if field in values}


def new_recipients(integration: InboundIntegration, recipients: Mapping[str, list[Any]]) -> list[str]:
    """Return the fields of recipients that differ from what is stored; another order is no difference."""
    return [field for field, rows in recipients.items() if set(rows) != set(getattr(integration, field).all())]


def save_recipients(integration: InboundIntegration, recipients: Mapping[str, list[Any]]) -> None:
    """Replace the recipients by these, in this order, in which groups are notified.

    The order is that of the rows' ids; a related manager's `set()` would lose it.
    """
    for field, rows in recipients.items():
        _save_recipients(integration, field, rows)


def locked_first(kind: str) -> type[models.Model]:
    """Return the model whose row is locked before the integration itself, as pings and events do."""
    return Heartbeat if kind == InboundIntegration.Type.HEARTBEAT else EventState


def lock(integration: InboundIntegration) -> InboundIntegration:
    """Lock the integration against pings, events and other edits; return it as it is stored.

    Raises IntegrationGone. Call it in a transaction.
    """
    rows = locked_first(integration.type)._default_manager.select_for_update()  # noqa: SLF001 - Django's name
    if not rows.filter(pk=integration.pk).exists():
        raise IntegrationGone("This integration was deleted in the meantime.")
    related = ("escalation_policy", "response_play", "bridge")
    stored = InboundIntegration.objects.select_related(*related).filter(pk=integration.pk).first()
    if stored is None:
        raise IntegrationGone("This integration was deleted in the meantime.")
    return stored


def follow_route(
    integration: InboundIntegration,
    before: Mapping[str, Any],
    changed_recipients: Collection[str],
    *,
    actor: User | None,
    now: datetime,
) -> None:
    """Write into the timelines of its open alerts that later ones take another route, if they do.

    `before` are the former values of `COMMON`, `changed_recipients` the fields of recipients that changed.
    """
    old_rule = before["escalation_policy"] or before["response_play"]
    rule = integration.escalation_policy or integration.response_play
    text = ""
    if rule != old_rule:
        text = f"The integration was given “{rule}” instead of “{old_rule}”"
    elif changed_recipients:
        text = "The recipients of the integration were changed"
    if text:
        follow_integration(integration.pk, text, actor=actor, now=now)


def rotate_token(
    integration: InboundIntegration, *, actor: User | None, now: datetime, overlap: timedelta = timedelta()
) -> InboundIntegration:
    """Replace the tokens of the secret URL and the mail address; the old ones work for the time of `overlap`.

    Without an overlap, all former URLs answer 404 from now on, and all former addresses are unknown. Raises FieldError,
    and IntegrationGone.
    """
    if not timedelta() <= overlap <= minutes(MAX_MINUTES):
        raise FieldError("overlap_minutes", "The overlap is from 0 to 44,640 minutes (31 days).")
    with transaction.atomic():
        stored = InboundIntegration.objects.select_for_update().filter(pk=integration.pk).first()
        if stored is None:
            raise IntegrationGone("This integration was deleted in the meantime.")
        text = "The API URL was rotated."
        if overlap:
            former_tokens = [stored.token]
            if stored.type not in {InboundIntegration.Type.API, InboundIntegration.Type.CHAT}:
                former_tokens.append(f"{FormerToken.MAIL}{stored.mail_token}")
            for former in former_tokens:
                FormerToken.objects.create(token=former, integration=stored, ends_at=now + overlap)
            text = f"The API URL was rotated; the old one works for another {exactly(overlap)}."
        else:
            stored.former_tokens.all().delete()
        integration.token, integration.mail_token = new_token(), new_mail_token()
        integration.save(update_fields=["token", "mail_token"])
        if integration.is_heartbeat:
            HeartbeatEvent.objects.create(
                integration=integration, at=now, kind=HeartbeatEvent.Kind.ROTATED, actor=actor, text=text
            )
    return integration


def delete_former_tokens(*, now: datetime, limit: int) -> int:
    """Delete at most `limit` former tokens that work no more; return how many there were."""
    ended = FormerToken.objects.filter(ends_at__lte=now).order_by("ends_at").values_list("pk", flat=True)
    return FormerToken.objects.filter(pk__in=list(ended[:limit])).delete()[0]


def delete_integration(integration: InboundIntegration, *, actor: User | None, now: datetime) -> None:
    """Delete the integration; its open alerts are closed with a note, and kept. Raises IntegrationGone."""
    with transaction.atomic():
        lock(integration)
        close_live(integration, "deleted", tests_too=True, actor=actor, now=now)
        integration.delete()


def close_live(
    integration: InboundIntegration, end: str, *, tests_too: bool = False, actor: User | None, now: datetime
) -> None:
    """Close its open alerts, since it was "disabled" or "deleted": nobody should be notified of them any more."""
    reason = f"its {integration.noun} was {end}"
    close_alerts(live_alert_ids(integration, tests_too=tests_too), reason=reason, now=now, actor=actor)


def live_alert_ids(integration: InboundIntegration, *, tests_too: bool = False) -> list[int]:
    """Return the ids of its alerts that disabling it closes, or, with tests, deleting it."""
    live = Alert.objects.filter(integration_id=integration.pk, status__in=sorted(LIVE))
    if not tests_too:
        live = live.filter(is_test=False)
    return list(live.order_by("pk").values_list("pk", flat=True))


def _save_recipients(integration: InboundIntegration, field: str, recipients: Iterable[Group | User]) -> None:
    relation = getattr(InboundIntegration, field)
    column = relation.field.m2m_reverse_field_name()
    rows = [
        relation.through(inboundintegration=integration, **{column: recipient})
        for recipient in dict.fromkeys(recipients)
    ]
    stored = relation.through.objects.filter(inboundintegration=integration).order_by("id")
    replace_rows(stored, rows, by=[f"{column}_id"])
