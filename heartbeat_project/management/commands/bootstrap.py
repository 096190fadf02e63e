"""`manage.py bootstrap`: make the first organization and its Owner, once, and say how to sign in."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from accounts.models import GroupRole, Organization, User
from accounts.services import Member, create_api_key, create_group, create_user
from escalation.services.policies import found_organization
from heartbeat_project.demo import fill_demo
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import new_token

ORGANIZATION = "My organization"
FIRST_GROUP = "On call"
_LOCK = 4_242_001  # any number that nothing else here locks


class Command(BaseCommand):
    help = "Create the first organization and its Owner, unless there are some, and say how to sign in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="also fill a demo organization")

    def handle(self, *_: Any, demo: bool = False, **__: Any) -> None:
        now = clock.now()
        with transaction.atomic(), connection.cursor() as cursor:
            # Held to the end of the transaction: of two starts at once the second finds what the first made.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            owner, password = self._owner(now=now)
            demo_says = fill_demo(owner, now=now) if demo else []
        says = f"Sign in at {settings.BASE_URL}/login/ as {owner.email}"
        self.stdout.write(f"{says} with the password {password}" if password else says)
        for line in demo_says:
            self.stdout.write(line)

    def _owner(self, *, now: datetime) -> tuple[User, str]:
        """Return the Owner, made if there is none, and the password if it was generated just now."""
        first = Organization.objects.order_by("pk").first()
        if first is not None:
            owner = User.objects.select_related("organization").filter(organization=first, is_owner=True).first()
            if owner is None:
                raise CommandError(f"The organization “{first.name}” has no Owner.")
            return owner, ""
        organization = found_organization(name=ORGANIZATION, now=now)
        try:
            owner = create_user(organization, email=settings.OWNER_EMAIL, name="Owner", now=now, is_owner=True)
        except FieldError as error:
            raise CommandError(f"HEARTBEAT_OWNER_EMAIL: {error}") from error
        generated = "" if settings.OWNER_PASSWORD else new_token()
        self._set_password(owner, settings.OWNER_PASSWORD or generated)
        if settings.OWNER_API_KEY:
            create_api_key(owner, name="First key", key=settings.OWNER_API_KEY, now=now)
        create_group(
            organization,
            actor=None,
            now=now,
            name=FIRST_GROUP,
            description="Who is told first.",
            members=[Member(user=owner.pk, role=GroupRole.PRIMARY)],
        )
        return owner, generated

    def _set_password(self, owner: User, password: str) -> None:
        """Take the operator's word for the password, but say so when it is weak."""
        try:
            validate_password(password, owner)
        except ValidationError as error:
            self.stdout.write(f"HEARTBEAT_OWNER_PASSWORD is weak: {' '.join(error.messages)}")
        owner.set_password(password)
        owner.save(update_fields=["password"])
