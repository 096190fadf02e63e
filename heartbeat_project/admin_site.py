"""The Django admin site as the pages of Configuration, for integration and app admins."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse

from accounts.entitlements import Entitlement
from accounts.permissions import may


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the console that is listed in Configuration for users with an entitlement."""

    name: str
    address: str
    entitlement: Entitlement


@dataclass(frozen=True, slots=True)
class Section:
    """One part of Configuration: its name, its place in addresses, and its pages in order; those of models first."""

    name: str
    slug: str
    models: tuple[str, ...]
    pages: tuple[Page, ...] = ()


SECTIONS = (
    Section(
        "Integrations",
        "integrations",
        ("integrations.inboundintegration", "integrations.maintenancewindow"),
        (Page("Outbound Integrations", "console:outbound", Entitlement.OUTBOUND_INTEGRATIONS),),
    ),
    Section("Escalation", "escalation", ("escalation.escalationpolicy", "escalation.responseplay", "alerting.bridge")),
    Section("On call", "on-call", ("accounts.group", "escalation.shift", "escalation.outofoffice")),
    Section("People", "accounts", ("accounts.user", "accounts.role", "accounts.apikey")),
    Section(
        "System",
        "system",
        ("accounts.organization", "escalation.storedmail", "integrations.inboundevent"),
        (
            Page("Audit log", "console:audit_log", Entitlement.AUDIT_VIEW),
            Page("Usage", "console:usage", Entitlement.BILLING),
        ),
    ),
)
# Parameters of Django's pop-up windows: `_to_field` looks up an object by any column that the URL names.
_POPUP = (IS_POPUP_VAR, TO_FIELD_VAR)
_UNUSED = {"autocomplete", "view_on_site"}
_SECTION_OF = {label: section for section in SECTIONS for label in section.models}


class HeartbeatAdminSite(admin.AdminSite):
    """The pages of Configuration, open to users who hold an entitlement for one of them."""

    site_header = "Heartbeat"
    site_title = "Heartbeat"
    index_title = "Configuration"
    enable_nav_sidebar = False  # our own navigation is part of the page and needs no script

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the user is active and may see at least one page."""
        user = request.user
        return bool(user.is_active and getattr(user, "is_staff", False))

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register the models of the sections, and ignore the pages of other packages."""
        models: Any = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        for model in models:
            if model._meta.label_lower in _SECTION_OF:  # noqa: SLF001 - Django's documented Meta API
                super().register(model, admin_class, **options)

    def section_of(self, model: type[Model]) -> Section:
        """Return the section of a model's page."""
        return _SECTION_OF[model._meta.label_lower]  # noqa: SLF001 - Django's documented Meta API

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the sections and pages that the user may see, in our order and with our names."""
        pages: dict[str, Any] = {}
        for app in self._build_app_dict(request).values():
            for page in app["models"]:
                pages[page["model"]._meta.label_lower] = page  # noqa: SLF001 - Django's documented Meta API
        listed = []
        for section in SECTIONS:
            if app_label is not None and section.slug != app_label:
                continue
            models = [
                pages[label] | {"name": self._plural(pages[label]["model"])}
                for label in section.models
                if label in pages
            ]
            others = [
                {"name": page.name, "admin_url": reverse(page.address)}
                for page in section.pages
                if may(request.user, page.entitlement)
            ]
            if models or others:
                listed.append(
                    {
                        "name": section.name,
                        "app_label": section.slug,
                        "app_url": reverse("admin:app_list", kwargs={"app_label": section.slug}, current_app=self.name),
                        "has_module_perms": True,
                        "models": models,
                        "pages": others,
                    },
                )
        return listed

    def _plural(self, model: type[Model]) -> str:
        return str(getattr(self.get_model_admin(model), "plural", model._meta.verbose_name_plural))  # noqa: SLF001

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Show one section, or raise Http404."""
        names = [section.name for section in SECTIONS if section.slug == app_label]
        if not names:
            raise Http404
        return super().app_index(request, app_label, {"title": names[0]} | (extra_context or {}))

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Add a URL for each section, and leave out unused views, which could look up any object."""
        sections = [
            path(f"{section.slug}/", self.admin_view(self.app_index), {"app_label": section.slug}, name="app_list")
            for section in SECTIONS
        ]
        patterns = [pattern for pattern in super().get_urls() if getattr(pattern, "name", None) not in _UNUSED]
        return [*sections, *patterns]

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """Redirect to the sign-in page unless signed in; refuse users who have no entitlement for any page."""
        guarded = super().admin_view(view, cacheable)

        def inner(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)
            if not self.has_permission(request):
                raise PermissionDenied
            if any(name in request.GET or name in request.POST for name in _POPUP):
                raise BadRequest("No page here opens in a pop-up window.")
            response: HttpResponseBase = guarded(request, *args, **options)
            return response

        return update_wrapper(inner, guarded)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """Use the console's sign-in page."""
        if request.user.is_authenticated:
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        return redirect_to_login(reverse("admin:index", current_app=self.name), settings.LOGIN_URL)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """Redirect to the console, where users sign out."""
        return HttpResponseRedirect(reverse("console:alerts"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """Redirect to the console's password page."""
        return HttpResponseRedirect(reverse("console:password"))
