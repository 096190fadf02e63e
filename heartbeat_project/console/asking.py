"""Changes that would leave heartbeats without anybody to notify are asked about before they are made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import User
from heartbeat_project.kernel.consequences import Unconfirmed, confirm, consequences, seal

P = ParamSpec("P")


@contextmanager
def asking(request: HttpRequest, *things: object, user: User, now: datetime) -> Iterator[None]:
    """Make the change within the block, and take it back where it brings what the person has not confirmed.

    `things` are the rows that change. Raises Unconfirmed; then nothing is changed.
    """
    with transaction.atomic():
        with consequences(things, actor=user, now=now) as found:
            yield
        confirm(found, confirmed=request.POST.get("confirmed", ""))
    for one in found:
        messages.warning(request, one.detail)


def asks_first(
    back: str,
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponse]], Callable[Concatenate[HttpRequest, P], HttpResponse]
]:
    """Make a view ask what a change raises as Unconfirmed; `back` leads away from the question."""

    def decorated(
        view: Callable[Concatenate[HttpRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @wraps(view)
        def ask(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except Unconfirmed as asked:
                given = [(name, value) for name, values in request.POST.lists() for value in values]
                context = {
                    "given": [(name, value) for name, value in given if name != "confirmed"],
                    "consequences": asked.found,
                    "seal": seal(asked.found),
                    "back": back,
                }
                return render(request, "console/consequences.html", context)

        return ask

    return decorated
