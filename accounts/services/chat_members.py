"""Link members of chats with users: the chat shows a code, and the user enters it while signed in."""

import secrets
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from accounts.entitlements import Entitlement
from accounts.models.chat_members import ChatLinkCode, ChatMember
from accounts.models.users import User
from accounts.permissions import may
from accounts.services.try_limits import check_tries
from heartbeat_project.kernel.errors import FieldError, Forbidden
from heartbeat_project.kernel.ids import digest

CODE_LIVES: Final = timedelta(minutes=10)
TRIES: Final = 10  # of one user, within CODE_LIVES
MAX_MEMBERS: Final = 20  # of one user
_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without those that look alike
_HALF: Final = 4
_NOT_VALID: Final = "This code is not valid. It works for ten minutes, and once. Ask the chat for a new one."


def scope_of(platform: str, secret: str) -> str:
    """Return the digest of what a platform proves itself with; "" without a secret, by which nobody is known."""
    return digest(f"{platform}:{secret}") if secret else ""


def chat_user(organization_id: int, *, scope: str, member: str) -> User | None:
    """Return the user whom a member of a chat has proven to be; None if there is none."""
    if not scope or not member:
        return None
    links = ChatMember.objects.filter(organization_id=organization_id, scope=scope, member=member)
    link = links.select_related("user").first()
    return link.user if link else None


def issue_code(organization_id: int, *, platform: str, scope: str, member: str, name: str, now: datetime) -> str:
    """Return a new code for a member of a chat, as it is shown; an earlier one is not valid any more."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(2 * _HALF))
    ChatLinkCode.objects.update_or_create(
        organization_id=organization_id,
        scope=scope,
        member=member,
        defaults={
            "platform": platform,
            "name": name,
            "code_digest": digest(letters),
            "expires_at": now + CODE_LIVES,
        },
    )
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def find_code(user: User, code: str, *, now: datetime) -> ChatLinkCode:
    """Return the code that a chat of the user's organization gave. Raises FieldError("code"), and TooManyTries."""
    check_tries(f"chat code|{user.pk}", limit=TRIES, within=CODE_LIVES, now=now)
    return _find(user, code, now=now)


def link_member(user: User, code: str, *, now: datetime) -> ChatMember:
    """Let the member to whom the code was given act for the user; the code is used up.

    A member who was linked with somebody else is not any more. Raises Forbidden, FieldError("code"), and TooManyTries.
    """
    if not may(user, Entitlement.PROFILE_UPDATE):
        raise Forbidden("Your roles do not permit you to change your profile.")
    check_tries(f"chat code|{user.pk}", limit=TRIES, within=CODE_LIVES, now=now)
    with transaction.atomic():
        # Locked, so that a code is used once.
        found = _find(user, code, now=now, locked=True)
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        others = ChatMember.objects.filter(user=user).exclude(scope=found.scope, member=found.member)
        if others.count() >= MAX_MEMBERS:
            raise FieldError("code", f"You can link at most {MAX_MEMBERS} accounts. Remove one first.")
        same = ChatMember.objects.filter(organization_id=found.organization_id, scope=found.scope, member=found.member)
        same.delete()
        member = ChatMember.objects.create(
            organization_id=found.organization_id,
            user=user,
            platform=found.platform,
            scope=found.scope,
            member=found.member,
            name=found.name,
            linked_at=now,
        )
        found.delete()
    return member


def unlink_member(user: User, pk: int) -> bool:
    """Remove one of the user's links; return whether there was one. Raises Forbidden."""
    if not may(user, Entitlement.PROFILE_UPDATE):
        raise Forbidden("Your roles do not permit you to change your profile.")
    return bool(ChatMember.objects.filter(user=user, pk=pk).delete()[0])


def delete_old_codes(*, now: datetime, limit: int) -> int:
    """Delete at most `limit` codes that are not valid any more; return how many there were."""
    ended = ChatLinkCode.objects.filter(expires_at__lte=now).order_by("expires_at").values_list("pk", flat=True)
    return ChatLinkCode.objects.filter(pk__in=list(ended[:limit])).delete()[0]


def _find(user: User, code: str, *, now: datetime, locked: bool = False) -> ChatLinkCode:
    letters = "".join(letter for letter in code[:40].upper() if letter.isalnum())
    codes = ChatLinkCode.objects.select_for_update() if locked else ChatLinkCode.objects.all()
    found = codes.filter(organization_id=user.organization_id, code_digest=digest(letters), expires_at__gt=now).first()
    if found is None:
        raise FieldError("code", _NOT_VALID, code="invalid")
    return found
