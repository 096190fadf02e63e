"""Groups and their members."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts import services
from accounts.admin.base import OrganizationAdmin, OrganizationInline, organization_of, person, rows_of
from accounts.entitlements import Entitlement
from accounts.models import Group, GroupMember


class MemberInline(OrganizationInline):
    """Who is in the group, in which role; the order of the rows is the order in which they are told."""

    model = GroupMember
    fields = ("user", "role", "position")
    verbose_name = "member"
    verbose_name_plural = "Members"
    extra = 1


@admin.register(Group)
class GroupAdmin(OrganizationAdmin):
    """Groups."""

    singular, plural = "Group", "Groups"
    view_needs = (Entitlement.GROUPS_VIEW_ALL,)
    change_needs = (Entitlement.GROUPS_UPDATE_ALL,)
    add_needs = (Entitlement.GROUPS_ADD,)
    fields = ("name", "description")
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
        if stored is None:
            organization = organization_of(request)
            return services.create_group(
                organization, actor=person(request), now=now, members=members, **form.cleaned_data
            )
        return services.update_group(stored, actor=person(request), members=members, **form.cleaned_data)

    def delete_says(self, obj: Group) -> str:
        return "Its members stay; only the team goes. A group that something still names is not deleted."

    def delete_through(self, request: HttpRequest, obj: Group, *, now: datetime) -> None:
        services.delete_group(obj, actor=person(request))
