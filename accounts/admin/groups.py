"""Groups and their members."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts import services
from accounts.admin.base import (
    CheckBoxes,
    OrganizationAdmin,
    OrganizationInline,
    ServiceForm,
    of_organization,
    organization_of,
    person,
    rows_of,
)
from accounts.entitlements import Entitlement
from accounts.models import Group, GroupMember


class MemberInline(OrganizationInline):
    """Who is in the group, in which role; the order of the rows is the order in which they are told."""

    model = GroupMember
    fields = ("user", "role", "position")
    verbose_name = "member"
    verbose_name_plural = "Members"
    extra = 1


class GroupForm(ServiceForm):
    """Its name, and the groups within it."""

    inner = forms.ModelMultipleChoiceField(
        Group.objects.none(),
        required=False,
        label="Groups within it",
        widget=CheckBoxes(),
        help_text="Whoever is on call in them is on call in this group, too, in their role there.",
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
        counted: QuerySet[Any] = groups.annotate(number=Count("members__user", distinct=True))
        return counted

    @admin.display(description="Members", ordering="number")
    def member_count(self, group: Any) -> int:
        """Return how many people are in it."""
        return int(group.number)

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> Group:
        members = [
            services.Member(user=row["user"].pk, role=row["role"], position=row["position"])
            for formset in formsets
            for row in rows_of(formset)
        ]
        values = {"members": members, **form.cleaned_data}
        values["groups"] = values.pop("inner")
        if stored is None:
            return services.create_group(organization_of(request), actor=person(request), now=now, **values)
        return services.update_group(stored, actor=person(request), now=now, **values)

    def delete_says(self, obj: Group) -> str:
        return "Its members stay; the team and its contacts go. A group that something still names is not deleted."

    def delete_through(self, request: HttpRequest, obj: Group, *, now: datetime) -> None:
        services.delete_group(obj, actor=person(request))
