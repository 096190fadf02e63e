"""Signing in."""

from django.contrib.auth.views import LoginView
from django.forms import BaseForm
from django.http import HttpResponse

from heartbeat_project.console.forms import SignInForm


class SignIn(LoginView):
    """Sign in with e-mail and password, then go where `next` says, if that is one of our pages."""

    form_class = SignInForm
    template_name = "console/sign_in.html"
    redirect_authenticated_user = True

    def form_invalid(self, form: BaseForm) -> HttpResponse:
        """Show the form again; 429 where it is too early for another try."""
        response = super().form_invalid(form)  # type: ignore[arg-type]
        if form.has_error("__all__", code="throttled"):
            response.status_code = 429
        return response
