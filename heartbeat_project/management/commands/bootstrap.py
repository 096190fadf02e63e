"""`manage.py bootstrap`: create what the web server needs at its first start, and print how to sign in."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.services.api_keys import create_api_key
from accounts.services.installation_key import check_secret_key
from heartbeat_project.bootstrap import found_with_owner
from heartbeat_project.demo import fill_demo
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import new_token
from integrations.heartbeats.history import make_partitions
from integrations.inbound.days import keep_days

ORGANIZATION = "My organization"
# A start waits at most this long for the move of pings into a partition that was missing; a task does the rest.
MOVE_SECONDS = 2.0
_LOCK = 4_242_001  # an arbitrary number that no other lock here uses


class Command(BaseCommand):
    help = (
        "Create the partitions of the ping history, and the first organization with its Owner unless there is one, "
        "and print how to sign in."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="also fill the organization with demo data")
        parser.add_argument("--new-secret-key", action="store_true", help="accept a new SECRET_KEY if the old is lost")

    def handle(self, *_: Any, demo: bool = False, new_secret_key: bool = False, **__: Any) -> None:
        now = clock.now()
        make_partitions(now=now, seconds=MOVE_SECONDS)
        keep_days(now=now)
        with transaction.atomic(), connection.cursor() as cursor:
            # The lock lasts until the end of the transaction: of two simultaneous starts, the second creates nothing.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            check_secret_key(now=now, is_new=new_secret_key)
            owner, password = self._owner(now=now)
            demo_report = fill_demo(owner, now=now) if demo else []
        sign_in = f"Sign in at {settings.BASE_URL}/login/ as {owner.email}"
        if password:
            sign_in += f" with the password {password}"
        self.stdout.write(sign_in)
        for line in demo_report:
            self.stdout.write(line)

    def _owner(self, *, now: datetime) -> tuple[User, str]:
        """Return the Owner, created unless there is one, and the password if it was generated now."""
        first = Organization.objects.order_by("pk").first()
        if first is not None:
            owner = User.objects.select_related("organization").filter(organization=first, is_owner=True).first()
            if owner is None:
                raise CommandError(f"The organization “{first.name}” has no Owner.")
            return owner, ""
        generated = "" if settings.OWNER_PASSWORD else new_token()
        try:
            owner = found_with_owner(
                name=ORGANIZATION, email=settings.OWNER_EMAIL, password=settings.OWNER_PASSWORD or generated, now=now
            )
        except FieldError as error:
            raise CommandError(f"HEARTBEAT_OWNER_EMAIL: {error}") from error
        if settings.OWNER_PASSWORD:
            self._check_password(owner)
        if settings.OWNER_API_KEY:
            create_api_key(owner, name="First key", key=settings.OWNER_API_KEY, now=now)
        return owner, generated

    def _check_password(self, owner: User) -> None:
        """Raise CommandError for a weak password, which rolls back the new organization."""
        try:
            validate_password(settings.OWNER_PASSWORD, owner)
        except ValidationError as error:
            raise CommandError(f"HEARTBEAT_OWNER_PASSWORD is too weak. {' '.join(error.messages)}") from None
