"""Forms for the members of a group and for its shared contacts."""

from typing import Any, Self

from django import forms

from accounts.admin.base import time_field
from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group, GroupRole
from accounts.models.users import User
from heartbeat_project.console.forms.contact_methods import ContactMethodForm
from heartbeat_project.kernel.choice_fields import RowChoice


class SharedContactForm(ContactMethodForm):
    """A shared contact of a group: its address and label."""

    def __init__(self, *args: Any, kind: str, **options: Any) -> None:
        initial = {"label": CONTACT_KINDS[kind].form.shared_label}
        super().__init__(*args, **{"kind": kind, "initial": initial, **options})
        self.fields["label"].help_text = "Alerts refer to it by this label."

    @classmethod
    def of(cls, method: ContactMethod, data: Any = None) -> Self:
        """Return the form that changes a contact; it shows the masked address, as every member sees it."""
        initial = {"label": method.label, "address": method.masked_address}
        return cls(data, kind=method.kind, initial=initial, auto_id=f"id_{method.pk}_%s")


class MemberAbsenceForm(forms.Form):
    """Enter when a member of a group is out of office, and who is notified instead in this group."""

    user = RowChoice(User.objects.none(), label="Who is out of office", empty_label="Choose a member")
    starts_at = time_field("From")
    ends_at = time_field("Until")
    cover = RowChoice(User.objects.none(), label="Who is notified instead", empty_label="Choose a person")

    def __init__(self, *args: Any, group: Group, **options: Any) -> None:
        super().__init__(*args, **{"prefix": "absence", **options})
        people = User.objects.filter(organization_id=group.organization_id, is_active=True)
        members = group.members.values("user")
        self.fields["user"].queryset = people.filter(pk__in=members)  # type: ignore[attr-defined]
        self.fields["cover"].queryset = people  # type: ignore[attr-defined]


class MemberForm(forms.Form):
    """Add a member in one role to a group."""

    user = RowChoice(User.objects.none(), label="Person", empty_label="Choose a person")
    role = forms.ChoiceField(choices=GroupRole.choices, label="Role")

    def __init__(self, *args: Any, group: Group, **options: Any) -> None:
        super().__init__(*args, **options)
        people = User.objects.filter(organization_id=group.organization_id, is_active=True)
        self.fields["user"].queryset = people  # type: ignore[attr-defined]
