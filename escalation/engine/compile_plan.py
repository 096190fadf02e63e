"""Compile policies and plays into plans for the walk."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from typing import Final

from django.db.models import prefetch_related_objects

from accounts.models.groups import Group, GroupRole
from escalation.engine.plan import Plan, Stage, Target, Track
from escalation.models.policies import EscalationPolicy, PlayTier, PolicyRole, ResponsePlay
from heartbeat_project.kernel.composed import Composed, one_of

# Labels of the stages whose people are named themselves, not found by a group role.
NAMED = "Recipients named directly"
ADDED = "Added responders"


@dataclass(frozen=True, slots=True)
class Recipients:
    """The groups and users that an alert is addressed to."""

    group_ids: tuple[int, ...] = ()
    user_ids: tuple[int, ...] = ()


_roles: Final = Composed(lambda: PolicyRole.objects.filter(one_of("policy_id", "policies")).order_by("id"))
_tiers: Final = Composed(lambda: PlayTier.objects.filter(one_of("play_id", "plays")).order_by("offset_minutes", "id"))
_group_names: Final = Composed(
    lambda: Group.objects.filter(one_of("pk", "groups")).order_by().values_list("pk", "name")
)


class PlanCompiler:
    """Compiles policies and plays into plans; reads the rules and group names of a whole batch in a few queries."""

    def __init__(
        self,
        *,
        policies: Iterable[EscalationPolicy],
        plays: Iterable[ResponsePlay],
        group_ids: Iterable[int],
    ) -> None:
        self._roles: Mapping[int, list[PolicyRole]] = defaultdict(list)
        for role in _roles(policies=list({policy.pk for policy in policies})):
            self._roles[role.policy_id].append(role)
        self._tiers: Mapping[int, list[PlayTier]] = defaultdict(list)
        tiers = _tiers(plays=list({play.pk for play in plays}))
        prefetch_related_objects(tiers, "users", "groups")
        for tier in tiers:
            self._tiers[tier.play_id].append(tier)
        self._group_names = dict(_group_names(groups=list(set(group_ids))))

    def compile_policy(self, policy: EscalationPolicy, recipients: Recipients) -> Plan:
        """Return one track for each group, and one for the users named directly, who count as Primary at minute 0."""
        roles = sorted(self._roles[policy.pk], key=lambda role: GroupRole.values.index(role.role))
        centralized = policy.notify_using == EscalationPolicy.NotifyUsing.CENTRALIZED
        next_group_wait = _seconds(policy.next_group_wait_minutes)
        tracks = [
            self._group_track(roles, group_id, first_wait=index * next_group_wait, centralized=centralized)
            for index, group_id in enumerate(recipients.group_ids)
        ]
        users = tuple(Target("user", user_id) for user_id in recipients.user_ids)
        if users:
            primary = next((role for role in roles if role.role == GroupRole.PRIMARY), None)
            # Without a Primary they are notified once, over the contact methods of the first role.
            first_labels = roles[0].contact_labels if roles else []
            role = primary or PolicyRole(contact_labels=first_labels)
            named_stage = self._stage(role, label=NAMED, targets=users, wait=0, centralized=centralized)
            tracks.insert(0, Track((named_stage,)))
        return Plan(
            tracks=tuple(track for track in tracks if track.stages),
            repeats=policy.repeats,
            repeat_wait=_repeat_wait(roles),
        )

    def compile_play(self, play: ResponsePlay, recipients: Recipients) -> Plan:
        """Return a track of the tiers, and one, at minute 0, for the recipients named on the integration."""
        return Plan(tracks=self._named_and_tiers(NAMED, recipients, play))

    def compile_responders(self, recipients: Recipients, play: ResponsePlay | None) -> tuple[Track, ...]:
        """Return the tracks of people who are asked for help: those named at once, a play's tiers at their offsets."""
        return self._named_and_tiers(ADDED, recipients, play)

    def _group_track(
        self, roles: Sequence[PolicyRole], group_id: int, *, first_wait: float, centralized: bool
    ) -> Track:
        """Return a track of a group's roles; the first of them waits `first_wait` seconds more, for earlier groups."""
        group_name = self._group_names.get(group_id, "a deleted group")
        stages = [
            self._stage(
                role,
                label=f"{role.get_role_display()} of {group_name}",
                targets=(Target("group", group_id, role.role),),
                wait=_seconds(role.wait_minutes),
                centralized=centralized,
            )
            for role in roles
        ]
        stages[:1] = [replace(stage, wait=stage.wait + first_wait) for stage in stages[:1]]
        return Track(tuple(stages))

    def _named_and_tiers(self, label: str, recipients: Recipients, play: ResponsePlay | None) -> tuple[Track, ...]:
        """Return a track for the recipients named, whatever their group roles, and one for the play's tiers."""
        tracks = []
        named_targets = _targets(recipients.group_ids, recipients.user_ids)
        if named_targets:
            tracks.append(Track((Stage(label, named_targets),)))
        tiers = self._tiers[play.pk] if play else []
        stages = []
        # A stage waits from the one before; a tier's offset counts from the opening of the alert.
        offset = Decimal(0)
        for number, tier in enumerate(tiers, start=1):
            targets = _targets([group.pk for group in tier.groups.all()], [user.pk for user in tier.users.all()])
            stages.append(Stage(f"Tier {number}", targets, wait=_seconds(tier.offset_minutes - offset)))
            offset = tier.offset_minutes
        if stages:
            tracks.append(Track(tuple(stages)))
        return tuple(tracks)

    def _stage(
        self,
        role: PolicyRole,
        *,
        label: str,
        targets: tuple[Target, ...],
        wait: float,
        centralized: bool,
    ) -> Stage:
        return Stage(
            label=label,
            targets=targets,
            wait=wait,
            between=_seconds(role.between_members_minutes),
            retries=role.retries,
            retry_gap=_seconds(role.retry_interval_minutes),
            labels=tuple(role.contact_labels),
            centralized=centralized,
        )


def recipients_of(plan: Plan) -> Recipients:
    """Return whom a plan was made for: the groups walked by role and the recipients named, or else all its targets.

    People who were added to a walk under way are not among them.
    """
    originals: list[Target] = []
    targets: list[Target] = []
    for stage in chain.from_iterable(track.stages for track in plan.tracks):
        targets += stage.targets
        originals += (target for target in stage.targets if target.role or stage.label == NAMED)
    return Recipients(_ids("group", originals or targets), _ids("user", originals or targets))


def _ids(kind: str, targets: Iterable[Target]) -> tuple[int, ...]:
    """Return the ids of the targets of this kind, in order and each once."""
    return tuple(dict.fromkeys(target.id for target in targets if target.kind == kind))


def _repeat_wait(roles: Sequence[PolicyRole]) -> float:
    """Return how many seconds after its end a walk by these roles is repeated.

    Without a wait the first role of a repeat would be notified together with the last role before it. If no role has
    one, the wait between members or between retries takes its place: recipients who are named directly have no other.
    """
    waits = [_seconds(role.wait_minutes) for role in roles]
    gaps = [role.between_members_minutes for role in roles]
    gaps += [role.retry_interval_minutes for role in roles if role.retries]
    return max(waits, default=0) or _seconds(max(gaps, default=0))


def _targets(group_ids: Sequence[int], user_ids: Sequence[int]) -> tuple[Target, ...]:
    return (
        *(Target("user", user_id) for user_id in user_ids),
        *(Target("group", group_id) for group_id in group_ids),
    )


def _seconds(minutes: Decimal | float) -> float:
    """Return minutes as whole seconds, in a float: a tenth of a minute is six seconds."""
    return float(round(minutes * 60))
