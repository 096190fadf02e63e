"""What the frame around all pages sends: the theme, and the answer to the question for the time zone."""

from typing import Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.services import users
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.templatetags.frame import THEME_COOKIE, THEMES, ZONE_COOKIE

KEPT_SECONDS: Final = 365 * 86_400


@login_required
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Lead from the address of the installation to the alerts, and keep what an old address asked for."""
    return HttpResponseRedirect(reverse("console:alerts", query=request.GET or None))


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Set this browser to a theme; anything that is no theme means that of the system."""
    response = back(request)
    theme = request.POST.get("theme", "")
    if theme in dict(THEMES[1:]):
        _remember(response, THEME_COOKIE, theme)
    else:
        response.delete_cookie(THEME_COOKIE, path=settings.SESSION_COOKIE_PATH)
    return response


@login_required
@require_POST
def choose_zone(request: HttpRequest) -> HttpResponse:
    """Save the time zone of the browser as the user's, or keep theirs; this browser is not asked again."""
    user, now = signed_in(request), clock.now()
    response = back(request)
    if not request.POST.get("keep"):
        try:
            user = users.update_profile(user, now=now, time_zone=request.POST.get("zone", ""))
        except FieldError as error:
            messages.error(request, str(error))
            return response
        messages.success(request, f"Times are in {user.time_zone} now.")
    _remember(response, ZONE_COOKIE, "1")
    return response


def back(request: HttpRequest) -> HttpResponse:
    """Lead back to the page whose form was sent; to the alerts if that is not one of ours."""
    page = request.POST.get("next", "")
    is_ours = page.startswith("/") and url_has_allowed_host_and_scheme(page, allowed_hosts=None)
    return redirect(page) if is_ours else redirect("console:alerts")


def _remember(response: HttpResponse, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=KEPT_SECONDS,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
