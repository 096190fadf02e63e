"""The Django admin as integration and app admins see it: Configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse


@dataclass(frozen=True, slots=True)
class Section:
    """One part of Configuration: its name, its place in addresses, and its pages in order."""

    name: str
    slug: str
    models: tuple[str, ...]


SECTIONS = (
    Section("Integrations", "integrations", ("integrations.inboundintegration", "integrations.maintenancewindow")),
    Section("Escalation", "escalation", ("escalation.escalationpolicy", "escalation.responseplay", "alerting.bridge")),
    Section("On call", "on-call", ("accounts.group", "escalation.shift", "escalation.outofoffice")),
    Section("People", "accounts", ("accounts.user", "accounts.role", "accounts.apikey")),
    Section("System", "system", ("accounts.organization", "escalation.keptmessage")),
)
_SECTION_OF = {label: section for section in SECTIONS for label in section.models}


class HeartbeatAdminSite(admin.AdminSite):
    """Configuration pages, open to whoever holds an entitlement for one of them."""

    site_header = "Heartbeat"
    site_title = "Heartbeat"
    index_title = "Configuration"
    enable_nav_sidebar = False  # ours stands in the page without a script

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in active users who may see at least one page."""
        user = request.user
        return bool(user.is_active and getattr(user, "is_staff", False))

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Take what stands in a section; the pages that other packages bring along are not for anybody here."""
        models: Any = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        for model in models:
            if model._meta.label_lower in _SECTION_OF:  # noqa: SLF001 - Django's documented Meta API
                super().register(model, admin_class, **options)

    def section_of(self, model: type[Model]) -> Section:
        """Return the section that a page stands in."""
        return _SECTION_OF[model._meta.label_lower]  # noqa: SLF001 - Django's documented Meta API

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the sections and pages that the user may see, in our order and with our names."""
        pages = {
            page["model"]._meta.label_lower: page  # noqa: SLF001 - Django's documented Meta API
            for app in self._build_app_dict(request).values()
            for page in app["models"]
        }
        listed = []
        for section in SECTIONS:
            if app_label is not None and section.slug != app_label:
                continue
            shown = [
                pages[label] | {"name": self._plural(pages[label]["model"])}
                for label in section.models
                if label in pages
            ]
            if shown:
                listed.append(
                    {
                        "name": section.name,
                        "app_label": section.slug,
                        "app_url": reverse("admin:app_list", kwargs={"app_label": section.slug}, current_app=self.name),
                        "has_module_perms": True,
                        "models": shown,
                    },
                )
        return listed

    def _plural(self, model: type[Model]) -> str:
        return str(getattr(self.get_model_admin(model), "plural", model._meta.verbose_name_plural))  # noqa: SLF001

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Show one section."""
        names = [section.name for section in SECTIONS if section.slug == app_label]
        if not names:
            raise Http404
        return super().app_index(request, app_label, {"title": names[0]} | (extra_context or {}))

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Add the section that is no app of its own."""
        sections = [
            path(f"{section.slug}/", self.admin_view(self.app_index), {"app_label": section.slug}, name="app_list")
            for section in SECTIONS
        ]
        return [*sections, *super().get_urls()]

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """Send strangers to the sign-in page; refuse people without an entitlement for any page."""
        guarded = super().admin_view(view, cacheable)

        def inner(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)
            if not self.has_permission(request):
                raise PermissionDenied
            answer: HttpResponseBase = guarded(request, *args, **options)
            return answer

        return update_wrapper(inner, guarded)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """Use the console's sign-in page."""
        if request.user.is_authenticated:
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        return redirect_to_login(reverse("admin:index", current_app=self.name), settings.LOGIN_URL)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """Signing out is the console's, too."""
        return HttpResponseRedirect(reverse("console:alerts"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """The password is changed on the profile page."""
        return HttpResponseRedirect(reverse("console:password"))
