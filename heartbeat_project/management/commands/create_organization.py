"""`manage.py create_organization NAME OWNER_EMAIL`: create another organization and its Owner."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models.organizations import Organization
from accounts.services.taken_addresses import UNAVAILABLE
from heartbeat_project.bootstrap import found_with_owner
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import new_token


class Command(BaseCommand):
    help = "Create another organization with its Owner, and print how to sign in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="name of the organization")
        parser.add_argument("owner_email", help="address with which its Owner signs in; no other user may have it")

    def handle(self, *_: Any, name: str, owner_email: str, **__: Any) -> None:
        password = new_token()
        with transaction.atomic():
            if Organization.objects.filter(name__iexact=name.strip()).exists():
                raise CommandError(f"There is an organization “{name.strip()}” already.")
            try:
                owner = found_with_owner(name=name, email=owner_email, password=password, now=clock.now())
            except FieldError as error:
                # Other users get a vague error that refers them to the operator. The operator gets the reason.
                reason = "A user has this address already." if error.code == UNAVAILABLE else str(error)
                raise CommandError(f"{owner_email if error.field == 'email' else name}: {reason}") from error
        self.stdout.write(f"Sign in at {settings.BASE_URL}/login/ as {owner.email} with the password {password}")
