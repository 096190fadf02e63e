"""Who is told for a plan right now, and over what: read for a whole batch of runs in a few queries."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Self

from django.db.models import Q

from accounts.entitlements import BuiltinRole
from accounts.models import ContactMethod, GroupMember, User
from escalation.walk import Plan, Stage, Target, Tell


class Directory:
    """The members, and everybody's usable contact methods, behind a set of groups and users."""

    def __init__(
        self,
        *,
        members: dict[tuple[int, str | None], list[int]],
        methods: dict[int, list[ContactMethod]],
    ) -> None:
        self._members = members
        self._methods = methods

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> Self:
        """Read whoever these plans can lead to: three queries, however many plans."""
        targets = {
            target for plan in plans for track in plan.tracks for stage in track.stages for target in stage.targets
        }
        people = {target.id for target in targets if target.kind == "user"}
        members: dict[tuple[int, str | None], list[int]] = defaultdict(list)
        group_ids = {target.id for target in targets if target.kind == "group"}
        rows = GroupMember.objects.filter(group_id__in=group_ids).order_by("position", "id")
        for group_id, role, user_id in rows.values_list("group_id", "role", "user_id"):
            members[group_id, role].append(user_id)
            members[group_id, None].append(user_id)
            people.add(user_id)
        methods: dict[int, list[ContactMethod]] = defaultdict(list)
        usable = ContactMethod.objects.filter(user_id__in=people, user__is_active=True, verified_at__isnull=False)
        for method in usable.order_by("user_id", "position", "id"):
            methods[method.user_id].append(method)
        return cls(members=members, methods=methods)

    def people(self, target: Target) -> Sequence[int]:
        """Return who the target stands for, in order; stakeholders receive, too."""
        return [target.id] if target.kind == "user" else self._members.get((target.id, target.role), [])

    def reachable(self, person: int, stage: Stage) -> bool:
        """Answer whether the person is active and has a contact method that this stage uses."""
        return bool(self._usable(person, labels=stage.labels, centralized=stage.centralized))

    def methods(self, tell: Tell) -> list[ContactMethod]:
        """Return the contact methods over which the person is told, in order."""
        return self._usable(tell.person, labels=tell.labels, centralized=tell.centralized)

    def _usable(self, person: int, *, labels: Sequence[str], centralized: bool) -> list[ContactMethod]:
        """Centralized, the policy's labels decide; otherwise the person's own choice of enabled methods."""
        methods = self._methods.get(person, [])
        if not centralized:
            return [method for method in methods if method.enabled]
        wanted = {label.lower() for label in labels}
        return [method for method in methods if not wanted or method.label.lower() in wanted]


def stewards(organization_ids: Iterable[int]) -> dict[int, list[User]]:
    """Return the active Owners and App Admins of the organizations: whom the last resort tells."""
    found: dict[int, list[User]] = defaultdict(list)
    rows = User.objects.filter(
        Q(is_owner=True) | Q(roles__builtin__in=[BuiltinRole.OWNER, BuiltinRole.APP_ADMIN]),
        organization_id__in=set(organization_ids),
        is_active=True,
    )
    for user in rows.distinct().order_by("-is_owner", "id"):
        found[user.organization_id].append(user)
    return found
