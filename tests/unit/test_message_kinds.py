"""Kinds stand in two places each, which agree: of messages, and of contact methods."""

from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.contact_methods import ContactMethod
from escalation.channels import message_kinds
from escalation.models import notifications
from escalation.models.notifications import Notification
from escalation.notifications.providers.channel_pool import CHANNELS


def test_channels_know_the_kinds_of_notifications():
    assert {str(kind) for kind in message_kinds.MessageKind} == set(Notification.Kind.values)
    assert {str(kind) for kind in message_kinds.TO_OWNER} == set(notifications.TO_OWNER)
    assert {str(kind) for kind in message_kinds.INFORMING} == set(Notification.Kind.values) - set(notifications.ASKING)


def test_each_kind_of_contact_method_has_an_entry_and_a_channel():
    assert list(CONTACT_KINDS) == ContactMethod.Kind.values == list(CHANNELS)
    assert [kind.label for kind in CONTACT_KINDS.values()] == ContactMethod.Kind.labels


def test_the_database_holds_which_kinds_a_group_shares():
    constraints = {constraint.name: constraint for constraint in ContactMethod._meta.constraints}
    condition = str(constraints["contact_of_a_person_or_shared"].condition)
    assert str([kind.value for kind in ContactMethod.SHARED]) in condition
