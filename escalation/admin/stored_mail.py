"""The admin of stored mail: messages that were stored and not sent because no EMAIL_URL is set."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.clickjacking import xframe_options_sameorigin

from accounts.admin.base import OrganizationAdmin, moment, organization_of
from accounts.entitlements import Entitlement
from escalation.models.sending import StoredMail

# The preview is shown in a sandboxed frame; this policy also applies if it is opened by itself.
_PREVIEW_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@admin.register(StoredMail)
class StoredMailAdmin(OrganizationAdmin):
    """Stored messages, which can be read and not changed."""

    singular, plural = "Message", "Stored mail"
    organization_path = "user__organization"
    view_needs = (Entitlement.SECURITY,)
    add_needs = ()
    list_display = ("subject", "recipients", moment("at", "Stored"))
    search_fields = ("subject", "recipients")
    change_form_template = "admin/escalation/storedmail/message.html"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        return not settings.EMAIL_URL or StoredMail.objects.filter(user__organization=organization_of(request)).exists()

    def get_urls(self) -> list[URLPattern]:
        preview = path(
            "<path:object_id>/preview/",
            self.admin_site.admin_view(self.preview_view),
            name="escalation_storedmail_preview",
        )
        return [preview, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """Show the message as text and as HTML."""
        message = self._message(request, object_id)
        context = self.admin_site.each_context(request) | self._words()
        context |= {"opts": self.opts, "title": message.subject, "message": message, "original": message}
        return TemplateResponse(request, self.change_form_template, context)

    @method_decorator(xframe_options_sameorigin)
    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer the HTML of the message alone, for a frame without scripts."""
        message = self._message(request, object_id)
        return HttpResponse(message.html, headers={"Content-Security-Policy": _PREVIEW_POLICY})

    def _message(self, request: HttpRequest, object_id: str) -> StoredMail:
        if not self.has_view_permission(request):
            raise PermissionDenied
        message: StoredMail = self.get_object(request, object_id)
        return message
