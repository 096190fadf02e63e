"""The page on which the operator releases an installation that is held since a restore."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.services.restores import may_release
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.durations import in_words
from integrations.upkeep.release import preview_release, release


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def release_installation(request: HttpRequest) -> HttpResponse:
    """Show what a release will do, and release the installation on POST."""
    user, now = signed_in(request), clock.now()
    if not may_release(user):
        raise PermissionDenied
    if request.method == "POST":
        if release(by=user, now=now) is None:
            messages.info(request, "The installation was released already.")
        else:
            messages.success(request, "Released. Deadlines are judged and people are notified again.")
        return redirect("console:alerts")
    preview = preview_release(now=now)
    missing = in_words(preview.missing) if preview else ""
    return render(request, "console/release.html", {"now": now, "preview": preview, "missing": missing})
