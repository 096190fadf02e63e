"""Password validators in addition to Django's own."""

from typing import Any, Final

from django.core.exceptions import ValidationError

MIN_DIFFERENT: Final = 5  # characters


class DifferentCharacters:
    """Refuse passwords that are long but easy to guess, such as one letter repeated."""

    def validate(self, password: str, user: Any = None) -> None:  # noqa: ARG002 - Django's protocol
        """Raise ValidationError if the password has too few different characters."""
        if len(set(password.lower())) < MIN_DIFFERENT:
            raise ValidationError(self.get_help_text(), code="password_too_uniform")

    def get_help_text(self) -> str:
        """Return the rule as a sentence for people."""
        return f"Use at least {MIN_DIFFERENT} different characters in the password."
