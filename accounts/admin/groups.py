"""The admin pages of groups and their members."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts.admin.base import (
    OrganizationAdmin,
    OrganizationInline,
    ServiceForm,
    of_organization,
    organization_of,
    person,
    rows_of,
)
from accounts.entitlements import Entitlement
from accounts.models.groups import Group, GroupMember
from accounts.services.groups import Member, create_group, delete_group, update_group
from heartbeat_project.kernel.choice_fields import RowChoices


class MemberInline(OrganizationInline):
    """The members of a group with their roles, in the order in which they are notified."""

    model = GroupMember
    fields = ("user", "role", "position")
    verbose_name = "member"
    verbose_name_plural = "Members"
    extra = 1


class GroupForm(ServiceForm):
    """The name, the description and the groups within the group."""

    inner = RowChoices(
        Group.objects.none(),
        required=False,
        label="Groups within it",
        help_text="People who are on call in these groups are on call in this group, too, in the same role.",
    )

    class Meta:
        model = Group
        fields = ["name", "description"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "inner" in self.fields:
            others = of_organization(Group, self.request).exclude(pk=self.instance.pk)
            self.fields["inner"].queryset = others  # type: ignore[attr-defined]
            if self.instance.pk:
                self.initial["inner"] = list(self.instance.groups.all())


@admin.register(Group)
class GroupAdmin(OrganizationAdmin):
    """Groups."""

    singular, plural = "Group", "Groups"
    warns = True
    view_needs = (Entitlement.GROUPS_VIEW_ALL,)
    change_needs = (Entitlement.GROUPS_UPDATE_ALL,)
    add_needs = (Entitlement.GROUPS_ADD,)
    form = GroupForm
    fields = ("name", "description", "inner")
    inlines = (MemberInline,)
    list_display = ("name", "member_count", "description")
    search_fields = ("name", "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        groups: QuerySet[Any] = super().get_queryset(request)
        # A person with two roles counts once.
        annotated: QuerySet[Any] = groups.annotate(people=Count("members__user", distinct=True))
        return annotated

    @admin.display(description="Members", ordering="people")
    def member_count(self, group: Any) -> int:
        return int(group.people)

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> Group:
        members: list[Member] = []
        for formset in formsets:
            members += [
                Member(user=row["user"].pk, role=row["role"], position=row["position"]) for row in rows_of(formset)
            ]
        values = {"members": members, **form.cleaned_data}
        values["groups"] = values.pop("inner")
        if stored is None:
            return create_group(organization_of(request), actor=person(request), now=now, **values)
        return update_group(stored, actor=person(request), now=now, **values)

    def delete_says(self, obj: Group) -> str:
        return (
            "The group and its contacts are deleted; its members stay. "
            "A group that is still used somewhere cannot be deleted."
        )

    def delete_through(self, request: HttpRequest, obj: Group, *, now: datetime) -> None:
        delete_group(obj, actor=person(request))
