"""What is done by a button to one contact method, be it a person's or a group's."""

from datetime import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest

from accounts import services
from accounts.models import ContactMethod, User
from heartbeat_project.console.asking import asking
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.mail import STORED, mail_is_stored


def on_its_way(request: HttpRequest, what: str, method: ContactMethod, *, then: str, before: str = "") -> None:
    """Say that something was sent over the contact method; where mail is only stored, say that."""
    if method.kind == ContactMethod.Kind.EMAIL and mail_is_stored():
        messages.warning(request, f"{before}{STORED}. {what} over {method.label} is among the stored mail.")
    else:
        messages.success(request, f"{before}{what} is on its way over {method.label}{then}")


def act_on(request: HttpRequest, method: ContactMethod, action: str, *, user: User, now: datetime) -> None:
    """Do it and say on the next page what came of it. Raises Http404 for a button that there is not.

    Raises Unconfirmed where it would leave heartbeats without anybody to notify.
    """
    try:
        if action == "code":
            services.request_code(method, actor=user)
            on_its_way(request, "A new code", method, then=": one a minute at most.")
        elif action == "test":
            services.request_test(method, actor=user, now=now)
            on_its_way(request, "A test", method, then=". If it fails, this page says why: load it again.")
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
