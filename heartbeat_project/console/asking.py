"""Ask for confirmation before a change that would leave heartbeats without anybody to notify."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models.users import User
from heartbeat_project.kernel.consequences import Unconfirmed, confirm, consequences, seal

P = ParamSpec("P")


def sent_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the fields of the form that was sent, one pair of name and value for each value."""
    fields: list[tuple[str, str]] = []
    for name, values in request.POST.lists():
        fields.extend((name, value) for value in values)
    return fields


@contextmanager
def ask_before(request: HttpRequest, *changed_rows: object, user: User, now: datetime) -> Iterator[None]:
    """Run the block, and roll it back if it has consequences that the person has not confirmed.

    `changed_rows` are the rows that the block changes. Raises Unconfirmed; then nothing is changed.
    """
    with transaction.atomic():
        with consequences(changed_rows, actor=user, now=now) as warnings:
            yield
        confirm(warnings, confirmed=request.POST.get("confirmed", ""))
    for consequence in warnings:
        messages.warning(request, consequence.detail)


def asks_first(
    back: str,
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponse]], Callable[Concatenate[HttpRequest, P], HttpResponse]
]:
    """Decorate a view so that it answers Unconfirmed with a page that asks; `back` is the page of its "No" link."""

    def decorate(
        view: Callable[Concatenate[HttpRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @wraps(view)
        def ask(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except Unconfirmed as question:
                context = {
                    "sent_fields": [field for field in sent_fields(request) if field[0] != "confirmed"],
                    "consequences": question.consequences,
                    "seal": seal(question.consequences),
                    "back": reverse(back),
                }
                return render(request, "console/consequences.html", context)

        return ask

    return decorate
