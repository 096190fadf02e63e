"""System > Unreadable mails: mails that could not be read, kept as they arrived."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.admin.base import OrganizationAdmin, moment, organization_of, person
from accounts.entitlements import Entitlement
from escalation.notifications.notices.operator import first_owner
from integrations.models.events import InboundEvent

SHOWN_BYTES = 20_000  # of a mail, on its page


@admin.register(InboundEvent)
class InboundEventAdmin(OrganizationAdmin):
    """Mails that could not be read: those of the organization, and to the first Owner also those of none."""

    singular, plural = "Unreadable mail", "Unreadable mails"
    view_needs = (Entitlement.SECURITY,)
    add_needs = ()
    list_display = ("pk", moment("received_at", "Received"), "size", "fault")
    ordering = ("-pk",)
    change_form_template = "admin/integrations/inboundevent/event.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        visible = Q(organization=organization_of(request))
        if first_owner() == person(request):
            visible |= Q(organization=None)
        return InboundEvent.objects.filter(visible, state=InboundEvent.State.UNREADABLE).defer("raw").order_by("-pk")

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """Show the beginning of the mail as it arrived."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event: InboundEvent = self.get_object(request, object_id)
        context = self.admin_site.each_context(request) | self._words()
        context |= {"opts": self.opts, "title": f"Mail {event.pk}", "event": event, "original": event}
        context["text"] = bytes(event.raw[:SHOWN_BYTES]).decode("ascii", "backslashreplace").replace("\x00", "\\0")
        return TemplateResponse(request, self.change_form_template, context)
