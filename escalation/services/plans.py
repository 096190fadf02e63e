"""Compile policies and plays into plans for the walk."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from accounts.models import Group, GroupRole
from escalation.models import EscalationPolicy, PlayTier, PolicyRole, ResponsePlay
from escalation.walk import Plan, Stage, Target, Track

NAMED = "Recipients named directly"
ADDED = "Added responders"


@dataclass(frozen=True, slots=True)
class Recipients:
    """The groups and users that an alert is addressed to."""

    group_ids: tuple[int, ...] = ()
    user_ids: tuple[int, ...] = ()


class Compiler:
    """Policies, plays and group names, read for a whole batch in a few queries."""

    def __init__(
        self,
        *,
        policies: Iterable[EscalationPolicy],
        plays: Iterable[ResponsePlay],
        group_ids: Iterable[int],
    ) -> None:
        self._roles: Mapping[int, list[PolicyRole]] = defaultdict(list)
        for role in PolicyRole.objects.filter(policy__in={policy.pk for policy in policies}).order_by("id"):
            self._roles[role.policy_id].append(role)
        self._tiers: Mapping[int, list[PlayTier]] = defaultdict(list)
        tiers = PlayTier.objects.filter(play__in={play.pk for play in plays}).prefetch_related("users", "groups")
        for tier in tiers.order_by("offset_minutes", "id"):
            self._tiers[tier.play_id].append(tier)
        self._group_names = dict(Group.objects.filter(pk__in=set(group_ids)).values_list("pk", "name"))

    def policy(self, policy: EscalationPolicy, recipients: Recipients) -> Plan:
        """Return one track for each group, and one for the users named directly, who count as Primary at minute 0."""
        roles = sorted(self._roles[policy.pk], key=lambda role: GroupRole.values.index(role.role))
        centralized = policy.notify_using == EscalationPolicy.NotifyUsing.CENTRALIZED
        tracks = [
            Track(
                tuple(
                    self._stage(
                        role,
                        label=f"{role.get_role_display()} of {self._group_names.get(group_id, 'a deleted group')}",
                        targets=(Target("group", group_id, role.role),),
                        # The groups come one after another: the wait before a group is added to its first stage.
                        wait=_seconds(role.wait_minutes)
                        + (index * _seconds(policy.next_group_wait_minutes) if role is roles[0] else 0),
                        centralized=centralized,
                    )
                    for role in roles
                ),
            )
            for index, group_id in enumerate(recipients.group_ids)
        ]
        users = tuple(Target("user", user_id) for user_id in recipients.user_ids)
        if users:
            like = next((role for role in roles if role.role == GroupRole.PRIMARY), None)
            rule = like or PolicyRole(contact_labels=roles[0].contact_labels if roles else [])
            named = self._stage(rule, label=NAMED, targets=users, wait=0, centralized=centralized)
            tracks.insert(0, Track((named,)))
        return Plan(
            tracks=tuple(track for track in tracks if track.stages),
            repeats=policy.repeats,
            # Otherwise the first role of a repeat would be told together with the last one of the walk before.
            repeat_wait=max((_seconds(role.wait_minutes) for role in roles), default=0),
        )

    def play(self, play: ResponsePlay, recipients: Recipients) -> Plan:
        """Return a track of the tiers, and one for who is named on the integration, told at minute 0 beside them."""
        return Plan(tracks=self._beside(NAMED, recipients, play))

    def responders(self, recipients: Recipients, play: ResponsePlay | None) -> tuple[Track, ...]:
        """Return the tracks of people who are asked for help: those named at once, a play's tiers at their offsets."""
        return self._beside(ADDED, recipients, play)

    def _beside(self, label: str, recipients: Recipients, play: ResponsePlay | None) -> tuple[Track, ...]:
        """Return a track for those named, whatever their roles, and one for the play's tiers."""
        stages = []
        before = Decimal(0)
        for number, tier in enumerate(self._tiers[play.pk] if play else (), start=1):
            targets = _targets([group.pk for group in tier.groups.all()], [user.pk for user in tier.users.all()])
            stages.append(Stage(f"Tier {number}", targets, wait=_seconds(tier.offset_minutes - before)))
            before = tier.offset_minutes
        named = _targets(recipients.group_ids, recipients.user_ids)
        tracks = (Track((Stage(label, named),) if named else ()), Track(tuple(stages)))
        return tuple(track for track in tracks if track.stages)

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
    """Return whom a plan was made for: the groups walked by role and who was named, or else all that it names.

    People who were added to a walk under way are not among them.
    """
    stages = [stage for track in plan.tracks for stage in track.stages]
    meant = [target for stage in stages for target in stage.targets if target.role or stage.label == NAMED]
    targets = meant or [target for stage in stages for target in stage.targets]
    group_ids, user_ids = (
        tuple(dict.fromkeys(target.id for target in targets if target.kind == kind)) for kind in ("group", "user")
    )
    return Recipients(group_ids, user_ids)


def _targets(group_ids: Sequence[int], user_ids: Sequence[int]) -> tuple[Target, ...]:
    return (
        *(Target("user", user_id) for user_id in user_ids),
        *(Target("group", group_id) for group_id in group_ids),
    )


def _seconds(minutes: Decimal | float) -> float:
    """Return whole seconds, as a float: a tenth of a minute is six of them."""
    return float(round(minutes * 60))
