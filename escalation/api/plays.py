"""`response-plays/`: timed tiers of named users and groups."""

from typing import Any

from django.db.models import Prefetch

from accounts.models.groups import Group
from accounts.models.users import User
from escalation.api.policies import RuleSerializer, RuleViewSet, validated
from escalation.engine.manual import LAUNCHABLE_PLAY
from escalation.models.policies import PlayTier, ResponsePlay
from escalation.policies import plays
from escalation.policies.plays import TierRule
from heartbeat_project.kernel.api import MinutesField, OwnedRelatedField, Rows, Strict, in_saved_order

MAX_TIERS = 50


class TierSerializer(Strict):
    """The users and groups that are notified some minutes after the alert opened."""

    offset_minutes = MinutesField()
    users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)


class PlaySerializer(RuleSerializer):
    """A response play with its tiers; tiers in a request replace all earlier ones."""

    tiers = Rows(child=TierSerializer(), allow_empty=False, max_length=MAX_TIERS)

    def validate_tiers(self, tiers: list[dict[str, Any]]) -> list[TierRule]:
        """Return the tiers as the service takes them."""
        return [TierRule(**tier) for tier in tiers]


class PlayViewSet(RuleViewSet):
    """Response plays: timed tiers of named users and groups."""

    queryset = ResponsePlay.objects.prefetch_related(
        Prefetch("tiers__users", queryset=in_saved_order(User.objects.all(), PlayTier.users.through)),
        Prefetch("tiers__groups", queryset=in_saved_order(Group.objects.all(), PlayTier.groups.through)),
    )
    serializer_class = PlaySerializer
    launchable = LAUNCHABLE_PLAY

    def perform_create(self, serializer: Any) -> None:
        """Create the play."""
        serializer.instance = plays.create_play(self.user.organization, **validated(serializer))

    def perform_update(self, serializer: Any) -> None:
        """Change the play."""
        serializer.instance = plays.update_play(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: ResponsePlay) -> None:
        """Delete the play; 409 with the integrations that use it."""
        plays.delete_play(instance, actor=self.user, now=self.now)
