"""The buttons of one contact method of a person or a group: send a code or a test, enable, disable, delete."""

from datetime import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from accounts.services import contact_methods
from heartbeat_project.console.asking import ask_before
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.mail import STORED, mail_is_stored


def report_sending(
    request: HttpRequest, message_name: str, method: ContactMethod, *, then: str, before: str = ""
) -> None:
    """Add a note to the next page: a message is on its way over the method, or is only stored.

    `before` stands in front of the sentence; `then` ends it and says what to do next.
    """
    if method.kind == ContactMethod.Kind.EMAIL and mail_is_stored():
        messages.warning(request, f"{before}{STORED}. {message_name} over {method.label} is among the stored mail.")
    else:
        messages.success(request, f"{before}{message_name} is on its way over {method.label}{then}")


def act_on(request: HttpRequest, method: ContactMethod, action: str, *, user: User, now: datetime) -> None:
    """Do what a button asks for, and add the result to the next page.

    Raises Http404 for an unknown action, and Unconfirmed if it would leave heartbeats without anybody to notify.
    """
    try:
        if action == "code":
            contact_methods.request_code(method, actor=user)
            report_sending(request, "A new code", method, then=": one a minute at most.")
        elif action == "test":
            contact_methods.request_test(method, actor=user, now=now)
            report_sending(request, "A test", method, then=". If it fails, this page says why: load it again.")
        elif action in {"enable", "disable"}:
            with ask_before(request, method, user=user, now=now):
                contact_methods.update_contact_method(method, actor=user, enabled=action == "enable")
        elif action == "delete":
            with ask_before(request, method, user=user, now=now):
                contact_methods.delete_contact_method(method, actor=user)
            messages.success(request, f"{method.label} is removed.")
        else:
            raise Http404
    except DomainError as error:
        messages.error(request, str(error))
