"""Tags, descriptions and own priorities of integrations: how they are written, and their bounds."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from accounts.models.contact_methods import Priority
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.wording import is_visible

MAX_TAGS: Final = 20  # of one integration, or of one maintenance window
MAX_TAG: Final = 100  # characters
MAX_DESCRIPTION: Final = 2_000  # characters
# Unicode categories that no tag has: control, unassigned and format characters, separators.
_NOT_IN_A_TAG: Final = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp", "Zs"})
_APART: Final = ","


def clean_tags(tags: Iterable[str], *, field: str = "tags") -> list[str]:
    """Return the tags in lower case and in alphabetical order, each once.

    A tag is `name` or `name:value`, without spaces and commas, which stand between tags. Raises FieldError.
    """
    cleaned = {_clean_tag(tag, field=field) for tag in tags}
    if len(cleaned) > MAX_TAGS:
        raise FieldError(field, f"Use at most {MAX_TAGS} tags.", code="max_length")
    return sorted(cleaned)


def as_tag(text: str) -> str:
    """Return a text as a tag with the same letters is stored; for filters, which find nothing for what is no tag."""
    return unicodedata.normalize("NFC", text.strip().lower())


def split_tags(text: str) -> list[str]:
    """Return the tags of a text, between which spaces or commas stand."""
    return text.replace(_APART, " ").split()


def clean_description(text: str) -> str:
    """Return a description without outer spaces. Raises FieldError if it is too long or has control characters."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").strip())
    if len(text) > MAX_DESCRIPTION:
        raise FieldError("description", f"Use at most {MAX_DESCRIPTION:,} characters.", code="max_length")
    if any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in text):
        raise FieldError("description", "Leave out control characters.")
    return text


def clean_priority(priority: str | None) -> str | None:
    """Return the priority; None means that of the policy or play. Raises FieldError for one that there is not."""
    if not priority:
        return None
    if priority not in Priority.values:
        raise FieldError("priority", "Choose critical, high, medium, low or none, or nothing for that of the policy.")
    return priority


def _clean_tag(tag: str, *, field: str) -> str:
    tag = as_tag(tag)
    if len(tag) > MAX_TAG:
        raise FieldError(field, f"A tag has at most {MAX_TAG} characters.", code="max_length")
    if _APART in tag or any(unicodedata.category(character) in _NOT_IN_A_TAG for character in tag):
        raise FieldError(field, f"“{tag[:40]}” is no tag: leave out spaces, commas and control characters.")
    name, colon, value = tag.partition(":")
    if not name or not any(map(is_visible, name)) or (colon and not value):
        raise FieldError(field, f"“{tag[:40]}” is no tag: write a name, such as shop, or name:value, such as env:prod.")
    return tag
