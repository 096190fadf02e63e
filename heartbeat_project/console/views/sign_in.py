"""The page to sign in."""

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpResponse

from accounts.services.audit import record_sign_in
from accounts.services.try_limits import DEVICE_DAYS, new_device
from heartbeat_project.console.forms.sign_in import SignInForm
from heartbeat_project.kernel import clock

# A browser with this cookie is not slowed down or refused because of tries by strangers: see docs/decisions/0051.
DEVICE_COOKIE: Final = "heartbeat_device"


class SignIn(LoginView):
    """Sign in with e-mail and password, then redirect to `next` if it is an address on this host."""

    form_class = SignInForm
    template_name = "console/sign_in.html"
    redirect_authenticated_user = True

    def get_form_kwargs(self) -> dict[str, Any]:
        """Pass the time and the cookie of a known browser to the form."""
        device = self.request.COOKIES.get(DEVICE_COOKIE, "")
        return super().get_form_kwargs() | {"now": clock.now(), "device": device}

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Sign in, and set the cookie that marks this browser as known to the account."""
        response = super().form_valid(form)
        record_sign_in(form.cleaned_data["username"], succeeded=True)
        response.set_cookie(
            DEVICE_COOKIE,
            new_device(form.cleaned_data["username"]),
            max_age=timedelta(days=DEVICE_DAYS),
            path=settings.LOGIN_URL,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Show the form again, with 429 or 503 if the password was not checked."""
        response = super().form_invalid(form)
        if isinstance(form, SignInForm) and form.not_now is not None:
            response.status_code = form.not_now.status
            response["Retry-After"] = str(form.not_now.retry_after)
        elif form.cleaned_data.get("username") and form.cleaned_data.get("password"):
            # Tries that were not even checked are not noted: that is how somebody could fill the log.
            record_sign_in(form.cleaned_data["username"], succeeded=False)
        return response
