"""`usage/`: what the organization used, month by month."""

from typing import Any

from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.entitlements import Entitlement
from heartbeat_project.kernel.api import Filters, NewestFirst
from integrations.models.usage import MonthlyUsage
from integrations.upkeep.usage import ensure_counted


class MonthlyUsageSerializer(serializers.ModelSerializer[MonthlyUsage]):
    """What the organization used in one month; the present month is counted anew every hour."""

    messages = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="By channel, the messages that a provider accepted; a bundle is one.",
    )

    class Meta:
        model = MonthlyUsage
        fields = ["month", "heartbeats", "alerts", "messages", "counted_at"]
        read_only_fields = fields


class NewestMonths(NewestFirst):
    """Pages of months, the newest first."""

    ordering = "-month"


class UsageViewSet(mixins.ListModelMixin, InOrganization):
    """What the organization used, month by month: heartbeats, alerts, and messages by channel."""

    queryset = MonthlyUsage.objects.all()
    serializer_class = MonthlyUsageSerializer
    pagination_class = NewestMonths
    filters = Filters
    permission_classes = [entitled(read=Entitlement.BILLING, write=Entitlement.BILLING)]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return the months, the present one first."""
        ensure_counted(self.user.organization, now=self.now)
        return super().list(request, *args, **kwargs)
