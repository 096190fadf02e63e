"""The page of a group: its members and shared contacts, which its Managers can change."""

from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.contact_kinds import CONTACT_KINDS
from accounts.entitlements import Entitlement
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.users import User
from accounts.permissions import may
from accounts.selectors import may_update_group, visible_groups
from accounts.services import contact_methods, members
from accounts.signing import signing_secret
from escalation.models.on_call import OutOfOffice
from escalation.oncall.absences import create_absence, delete_absence, editable_absences
from escalation.oncall.selectors import on_call_status_of, unreadable_calendars
from heartbeat_project.console.asking import ask_before, asks_first
from heartbeat_project.console.contact_actions import act_on, report_sending
from heartbeat_project.console.forms.contact_methods import CodeForm
from heartbeat_project.console.forms.groups import MemberAbsenceForm, MemberForm, SharedContactForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.console.views.contact_methods import add_service_error
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.ids import read_id

MAX_ABSENCES: Final = 20  # shown on the page
_ROLE_ORDER: Final = {role: index for index, role in enumerate(GroupRole.values)}


def _page(request: HttpRequest, group: Group, *, now: datetime, status: int = 200, **overrides: Any) -> HttpResponse:
    """Render the group; `overrides` are forms with errors, which replace empty ones in the context."""
    user = signed_in(request)
    may_change = may_update_group(user, group)
    failed: SharedContactForm | None = overrides.pop("failed_adding", None)
    context = {
        "nav_item": "my_shifts",
        "now": now,
        "group": group,
        "status": on_call_status_of(group, at=now),
        "may_change": may_change,
        "may_configure": may(user, Entitlement.GROUPS_VIEW_ALL) or may(user, Entitlement.GROUPS_UPDATE_ALL),
        "members": _members(group),
        "unreadable": unreadable_calendars([group.pk]),
        "inner": group.groups.order_by("nestings__position"),
        "roles": GroupRole.choices,
        "contacts": _contacts(group, may_change=may_change, failed=overrides.pop("failed_edit", {})),
        "member_form": MemberForm(group=group) if may_change else None,
        "absences": _absences(user, group, now=now),
        "absence_form": MemberAbsenceForm(group=group) if may_change else None,
        "adding": [
            {
                "kind": kind.value,
                "texts": CONTACT_KINDS[kind].form,
                "form": failed if failed and failed.kind == kind else SharedContactForm(kind=kind),
            }
            for kind in ContactMethod.SHARED
        ],
        "failed_code": {},
    }
    return render(request, "console/group.html", context | overrides, status=status)


def _members(group: Group) -> list[tuple[GroupMember, bool, bool]]:
    """Return the members by role and order, each with two flags: is the first, and is the last of the role."""
    members = list(group.members.select_related("user"))
    members.sort(key=lambda member: (_ROLE_ORDER[member.role], member.position, member.pk))
    rows: list[tuple[GroupMember, bool, bool]] = []
    for _, same_role in groupby(members, key=lambda member: member.role):
        members_of_role = list(same_role)
        rows.extend((member, member is members_of_role[0], member is members_of_role[-1]) for member in members_of_role)
    return rows


def _absences(user: User, group: Group, *, now: datetime) -> list[tuple[OutOfOffice, bool]]:
    """Return the absences of members that apply to this group, each with whether the user may cancel it."""
    entries = OutOfOffice.objects.filter(Q(group=group) | Q(group=None), user__in=group.members.values("user"))
    rows = entries.filter(ends_at__gt=now).select_related("user", "cover", "group").order_by("starts_at", "pk")
    shown = list(rows[:MAX_ABSENCES])
    editable = editable_absences(user, shown) if shown else set()
    return [(entry, entry.pk in editable) for entry in shown]


def _contacts(
    group: Group, *, may_change: bool, failed: dict[int, SharedContactForm]
) -> list[tuple[ContactMethod, SharedContactForm | None, str]]:
    """Return the shared contacts, each with the form that changes it and the signing secret of its messages.

    Users who may not change the group get no forms and no secrets.
    """
    rows: list[tuple[ContactMethod, SharedContactForm | None, str]] = []
    for method in group.contact_methods.all():
        form, secret = None, ""
        if may_change:
            form = failed.get(method.pk) or SharedContactForm.of(method)
            if method.kind == ContactMethod.Kind.WEBHOOK and method.verified_at:
                secret = signing_secret(method.address)
        rows.append((method, form, secret))
    return rows


def _find(request: HttpRequest, group_id: int) -> Group:
    """Return a group that the user may see. Raises Http404 for any other."""
    return get_object_or_404(visible_groups(signed_in(request)), pk=group_id)


def _find_own(request: HttpRequest, group_id: int) -> tuple[User, Group]:
    """Return the user and a group that they may change. Raises Http404 or PermissionDenied."""
    user, group = signed_in(request), _find(request, group_id)
    if not may_update_group(user, group):
        raise PermissionDenied
    return user, group


@login_required
@never_cache
@require_safe
def group(request: HttpRequest, group_id: int) -> HttpResponse:
    """Show who is on call, the members and the shared contacts of the group."""
    return _page(request, _find(request, group_id), now=clock.now())


@login_required
@never_cache
@require_POST
def add_member(request: HttpRequest, group_id: int) -> HttpResponse:
    """Add a member to the group."""
    user, group = _find_own(request, group_id)
    form = MemberForm(request.POST, group=group)
    if form.is_valid():
        try:
            members.add_member(group, actor=user, now=clock.now(), **form.cleaned_data)
        except DomainError as error:
            add_service_error(form, error)
        else:
            messages.success(request, f"{form.cleaned_data['user']} is in the group.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=clock.now(), status=400, member_form=form)


@login_required
@never_cache
@require_POST
@asks_first(back="console:my_shifts")
def change_member(request: HttpRequest, group_id: int, action: str) -> HttpResponse:
    """Move a member up or down in a role, give them another role, or remove them from the role."""
    user, group = _find_own(request, group_id)
    now, role = clock.now(), request.POST.get("role", "")
    member_id = read_id(request.POST.get("user", "")) or 0
    try:
        if action in {"up", "down"}:
            by = -1 if action == "up" else 1
            members.move_member(group, actor=user, user_id=member_id, role=role, by=by, now=now)
        elif action == "role":
            to = request.POST.get("to", "")
            with ask_before(request, group, user=user, now=now):
                members.give_role(group, actor=user, user_id=member_id, role=role, to=to, now=now)
        elif action == "remove":
            with ask_before(request, group, user=user, now=now):
                members.remove_member(group, actor=user, user_id=member_id, role=role, now=now)
            messages.success(request, "Removed from this role.")
        else:
            raise Http404
    except DomainError as error:
        messages.error(request, str(error))
    # People who removed themselves may not see the group any more.
    is_visible = visible_groups(user).filter(pk=group.pk).exists()
    return redirect("console:group", group.pk) if is_visible else redirect("console:my_shifts")


@login_required
@never_cache
@require_POST
@asks_first(back="/on-call/")
def add_absence(request: HttpRequest, group_id: int) -> HttpResponse:
    """Save when a member is out of office, and who covers for them in this group."""
    user, group = _find_own(request, group_id)
    now = clock.now()
    form = MemberAbsenceForm(request.POST, group=group)
    if form.is_valid():
        fields = dict(form.cleaned_data)
        member = fields.pop("user")
        try:
            with ask_before(request, member, user=user, now=now):
                entry = create_absence(member, actor=user, now=now, group=group, **fields)
        except DomainError as error:
            add_service_error(form, error)
        else:
            messages.success(request, f"Saved. {entry.cover} will be notified instead of {member}.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=now, status=400, absence_form=form)


@login_required
@never_cache
@require_POST
def cancel_absence(request: HttpRequest, group_id: int, entry_id: int) -> HttpResponse:
    """Delete an absence of a member, if the user may."""
    user, group = signed_in(request), _find(request, group_id)
    entries = OutOfOffice.objects.filter(Q(group=group) | Q(group=None), user__in=group.members.values("user"))
    entry = get_object_or_404(entries.select_related("user", "group"), pk=entry_id)
    try:
        delete_absence(entry, actor=user)
    except DomainError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Cancelled: {entry.user} is notified again.")
    return redirect("console:group", group.pk)


@login_required
@never_cache
@require_POST
def add_contact(request: HttpRequest, group_id: int) -> HttpResponse:
    """Add a shared contact and send its code; it is used once the code was entered."""
    user, group = _find_own(request, group_id)
    kind = request.POST.get("kind", "")
    if kind not in ContactMethod.SHARED:
        raise Http404
    form = SharedContactForm(request.POST, kind=kind)
    if form.is_valid():
        try:
            method = contact_methods.create_contact_method(group, actor=user, kind=kind, **form.cleaned_data)
        except DomainError as error:
            add_service_error(form, error)
        else:
            report_sending(request, "A code", method, then=". Enter it below to use it.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=clock.now(), status=400, failed_adding=form)


@login_required
@never_cache
@require_POST
@asks_first(back="console:my_shifts")
def change_contact(request: HttpRequest, group_id: int, method_id: int, action: str) -> HttpResponse:
    """Do what a button of one of the group's contacts asks for."""
    now = clock.now()
    user, group = _find_own(request, group_id)
    method = get_object_or_404(group.contact_methods.select_related("group"), pk=method_id)
    if action == "verify":
        return _verify(request, group, method, user=user, now=now)
    if action == "edit":
        return _edit(request, group, method, user=user, now=now)
    act_on(request, method, action, user=user, now=now)
    return redirect("console:group", group.pk)


def _verify(request: HttpRequest, group: Group, method: ContactMethod, *, user: User, now: datetime) -> HttpResponse:
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            contact_methods.verify_contact_method(method, code=form.cleaned_data["code"], actor=user, now=now)
        except DomainError as error:
            add_service_error(form, error)
        else:
            messages.success(request, f"{method.label} is confirmed: it is used from now on.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=now, status=400, failed_code={method.pk: form})


def _edit(request: HttpRequest, group: Group, method: ContactMethod, *, user: User, now: datetime) -> HttpResponse:
    form = SharedContactForm.of(method, request.POST)
    if form.is_valid():
        try:
            changed = contact_methods.update_contact_method(method, actor=user, **form.cleaned_data)
        except DomainError as error:
            add_service_error(form, error)
        else:
            moved = method.verified_at and not changed.verified_at
            if moved:
                report_sending(request, "A code", changed, before="Saved. ", then=": enter it to go on.")
            else:
                messages.success(request, "Saved.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=now, status=400, failed_edit={method.pk: form})
