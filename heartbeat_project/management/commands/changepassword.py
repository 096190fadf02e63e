"""`manage.py changepassword E-MAIL`: Django's command, which here also revokes the user's API keys."""

from typing import Any

from django.contrib.auth.management.commands.changepassword import Command as ChangePassword
from django.core.management.base import CommandParser
from django.db import transaction

from accounts.models.users import User
from accounts.services.users import revoke_api_keys_of
from heartbeat_project.kernel import clock


class Command(ChangePassword):
    help = "Change a user's password and revoke their API keys."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--keep-api-keys", action="store_true", help="Leave the user's API keys as they are.")

    def handle(self, *args: Any, **options: Any) -> str | None:
        with transaction.atomic():
            output: str | None = super().handle(*args, **options)
            if not options["keep_api_keys"]:
                revoke_api_keys_of(User.objects.get(email=options["username"]), now=clock.now())
        return output
