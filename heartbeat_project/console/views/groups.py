"""One group: its members and what it shares, seen by who sees the group and changed by its Managers."""

from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import services
from accounts.entitlements import Entitlement
from accounts.models import ContactMethod, Group, GroupMember, GroupRole, User
from accounts.permissions import may
from accounts.selectors import may_update_group, visible_groups
from accounts.signing import signing_secret
from escalation.on_call import standing_of
from escalation.selectors import unreadable_calendars
from heartbeat_project.console.asking import asking, asks_first
from heartbeat_project.console.contact_actions import act_on, on_its_way
from heartbeat_project.console.forms import KINDS, CodeForm, MemberForm, SharedContactForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.console.views.contact_methods import refused
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError

_ORDER: Final = {role: place for place, role in enumerate(GroupRole.values)}


def _page(request: HttpRequest, group: Group, *, now: datetime, status: int = 200, **filled: Any) -> HttpResponse:
    """Render the group; `filled` are the forms that had errors."""
    user = signed_in(request)
    may_change = may_update_group(user, group)
    failed: SharedContactForm | None = filled.pop("failed_adding", None)
    context = {
        "here": "duty",
        "now": now,
        "group": group,
        "standing": standing_of(group, at=now),
        "may_change": may_change,
        "may_configure": may(user, Entitlement.GROUPS_VIEW_ALL) or may(user, Entitlement.GROUPS_UPDATE_ALL),
        "members": _members(group),
        "unreadable": unreadable_calendars([group.pk]),
        "inner": group.groups.order_by("nestings__position"),
        "roles": GroupRole.choices,
        "contacts": _contacts(group, may_change=may_change, failed=filled.pop("failed_edit", {})),
        "member_form": MemberForm(group=group) if may_change else None,
        "adding": [
            {
                "kind": kind.value,
                "words": KINDS[kind.value],
                "form": failed if failed and failed.kind == kind else SharedContactForm(kind=kind),
            }
            for kind in ContactMethod.SHARED
        ],
        "failed_code": {},
    }
    return render(request, "console/group.html", context | filled, status=status)


def _members(group: Group) -> list[tuple[GroupMember, bool, bool]]:
    """Return the members by role and order, each with whether they are the first and the last of their role."""
    rows = sorted(group.members.select_related("user"), key=lambda row: (_ORDER[row.role], row.position, row.pk))
    return [
        (row, index == 0 or rows[index - 1].role != row.role, row is rows[-1] or rows[index + 1].role != row.role)
        for index, row in enumerate(rows)
    ]


def _contacts(
    group: Group, *, may_change: bool, failed: dict[int, SharedContactForm]
) -> list[tuple[ContactMethod, SharedContactForm | None, str]]:
    """Return what the group shares, each with the form that changes it and what its messages are signed with."""
    return [
        (
            method,
            (failed.get(method.pk) or SharedContactForm.of(method)) if may_change else None,
            signing_secret(method.address)
            if may_change and method.kind == ContactMethod.Kind.WEBHOOK and method.verified_at
            else "",
        )
        for method in group.contact_methods.all()
    ]


def _find(request: HttpRequest, group_id: int) -> Group:
    """Return a group that the person may see; any other one is a 404."""
    return get_object_or_404(visible_groups(signed_in(request)), pk=group_id)


def _find_own(request: HttpRequest, group_id: int) -> tuple[User, Group]:
    """Return the person and a group that they may change."""
    user, group = signed_in(request), _find(request, group_id)
    if not may_update_group(user, group):
        raise PermissionDenied
    return user, group


@login_required
@never_cache
@require_safe
def group(request: HttpRequest, group_id: int) -> HttpResponse:
    """Show who is in the group and what it shares."""
    return _page(request, _find(request, group_id), now=clock.now())


@login_required
@never_cache
@require_POST
def add_member(request: HttpRequest, group_id: int) -> HttpResponse:
    """Put somebody into the group."""
    user, group = _find_own(request, group_id)
    form = MemberForm(request.POST, group=group)
    if form.is_valid():
        try:
            services.add_member(group, actor=user, now=clock.now(), **form.cleaned_data)
        except DomainError as error:
            refused(form, error)
        else:
            messages.success(request, f"{form.cleaned_data['user']} is in the group.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=clock.now(), status=400, member_form=form)


@login_required
@never_cache
@require_POST
@asks_first(back="/on-call/")
def change_member(request: HttpRequest, group_id: int, action: str) -> HttpResponse:
    """Do one thing to one member in one role."""
    user, group = _find_own(request, group_id)
    member, role = request.POST.get("user", ""), request.POST.get("role", "")
    whom: dict[str, Any] = {
        "actor": user,
        "now": clock.now(),
        "user_id": int(member) if member.isdecimal() else 0,
        "role": role,
    }
    try:
        if action in {"up", "down"}:
            services.move_member(group, **whom, by=-1 if action == "up" else 1)
        elif action == "role":
            with asking(request, group, user=user, now=clock.now()):
                services.give_role(group, **whom, to=request.POST.get("to", ""))
        elif action == "remove":
            with asking(request, group, user=user, now=clock.now()):
                services.remove_member(group, **whom)
            messages.success(request, "Taken out of this role.")
        else:
            raise Http404
    except DomainError as error:
        messages.error(request, str(error))
    # Who took themselves out may not see the group any more.
    still = visible_groups(user).filter(pk=group.pk).exists()
    return redirect("console:group", group.pk) if still else redirect("console:duty")


@login_required
@never_cache
@require_POST
def add_contact(request: HttpRequest, group_id: int) -> HttpResponse:
    """Give the group a contact of its own; it is used once its code was entered."""
    user, group = _find_own(request, group_id)
    kind = request.POST.get("kind", "")
    if kind not in ContactMethod.SHARED:
        raise Http404
    form = SharedContactForm(request.POST, kind=kind)
    if form.is_valid():
        try:
            method = services.create_contact_method(group, actor=user, kind=kind, **form.cleaned_data)
        except DomainError as error:
            refused(form, error)
        else:
            on_its_way(request, "A code", method, then=". Enter it below to use it.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=clock.now(), status=400, failed_adding=form)


@login_required
@never_cache
@require_POST
@asks_first(back="/on-call/")
def change_contact(request: HttpRequest, group_id: int, method_id: int, action: str) -> HttpResponse:
    """Do one thing to one of the group's contacts."""
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
            services.verify_contact_method(method, code=form.cleaned_data["code"], actor=user, now=now)
        except DomainError as error:
            refused(form, error)
        else:
            messages.success(request, f"{method.label} is confirmed: it is used from now on.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=now, status=400, failed_code={method.pk: form})


def _edit(request: HttpRequest, group: Group, method: ContactMethod, *, user: User, now: datetime) -> HttpResponse:
    form = SharedContactForm.of(method, request.POST)
    if form.is_valid():
        try:
            changed = services.update_contact_method(method, actor=user, **form.cleaned_data)
        except DomainError as error:
            refused(form, error)
        else:
            moved = method.verified_at and not changed.verified_at
            if moved:
                on_its_way(request, "A code", changed, before="Saved. ", then=": enter it to go on.")
            else:
                messages.success(request, "Saved.")
            return redirect("console:group", group.pk)
    return _page(request, group, now=now, status=400, failed_edit={method.pk: form})
