"""What is done by a button to one contact method, be it a person's or a group's."""

from datetime import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest

from accounts import services
from accounts.models import ContactMethod, User
from heartbeat_project.console.asking import asking
from heartbeat_project.kernel.errors import DomainError


def act_on(request: HttpRequest, method: ContactMethod, action: str, *, user: User, now: datetime) -> None:
    """Do it and say on the next page what came of it. Raises Http404 for a button that there is not.

    Raises Unconfirmed where it would leave heartbeats without anybody to notify.
    """
    try:
        if action == "code":
            services.request_code(method, actor=user)
            messages.success(request, f"A new code is on its way over {method.label}: one a minute at most.")
        elif action == "test":
            services.request_test(method, actor=user, now=now)
            messages.success(
                request, f"A test is on its way over {method.label}. If it fails, this page says why: load it again."
            )
        elif action in {"enable", "disable"}:
            with asking(request, method, user=user, now=now):
                services.update_contact_method(method, actor=user, enabled=action == "enable")
        elif action == "delete":
            with asking(request, method, user=user, now=now):
                services.delete_contact_method(method, actor=user)
            messages.success(request, f"{method.label} is removed.")
        else:
            raise Http404
    except DomainError as error:
        messages.error(request, str(error))
