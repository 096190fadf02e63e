"""`audit-log/`: who changed what, when, over what and from where."""

from rest_framework import mixins, serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.entitlements import Entitlement
from accounts.models.audit import OBJECT_TYPES, AuditEntry
from heartbeat_project.kernel.api import Filters, IdFilter, InstantField, NewestFirst


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """One change. `before` and `after` hold the fields that differ; of a secret they only say that it was changed."""

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "at",
            "actor",
            "via",
            "address",
            "object_type",
            "object_id",
            "object_name",
            "action",
            "before",
            "after",
        ]
        read_only_fields = fields


class AuditFilters(Filters):
    """The filters of the list."""

    actor = IdFilter(source="actor_id", required=False, help_text="The id of a user.")
    object_type = serializers.ChoiceField(
        choices=OBJECT_TYPES,
        required=False,
        error_messages={"invalid_choice": f"It must be one of {', '.join(OBJECT_TYPES)}."},
    )
    after = InstantField(source="at__gte", required=False, help_text="At this time or later.")
    before = InstantField(source="at__lt", required=False, help_text="Before this time.")


class NewestAuditEntries(NewestFirst):
    """Pages of entries, newest first; an index has them in this order."""

    ordering = ("-at", "-id")


class AuditLogViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, InOrganization):
    """The audit log of the organization; nothing can change it."""

    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    pagination_class = NewestAuditEntries
    permission_classes = [entitled(read=Entitlement.AUDIT_VIEW, write=Entitlement.AUDIT_VIEW)]
    filters = AuditFilters
    http_method_names = ["get", "head", "options"]
