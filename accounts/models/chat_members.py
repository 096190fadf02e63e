"""Who a user is in the chats of an organization: proven by a code that the chat gave and the user entered."""

from django.db import models

from accounts.models.organizations import Organization
from accounts.models.users import User


class ChatMember(models.Model):
    """A member of a chat, whose commands and buttons act for a user.

    The link counts only for requests that are proven by the same secret as the one that gave the code: whoever knows
    another secret can claim to be any member.
    """

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="chat_members")
    platform = models.CharField(max_length=12)
    scope = models.CharField(max_length=64, help_text="The digest of platform and secret.")
    member = models.CharField(max_length=210, help_text="The platform's id of the person.")
    name = models.CharField(max_length=100, blank=True, help_text="As the platform named them.")
    linked_at = models.DateTimeField()

    class Meta:
        ordering = ["platform", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "scope", "member"], name="chat_member_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name or self.member} ({self.platform})"


class ChatLinkCode(models.Model):
    """A code that a chat gave to one of its members, for whoever enters it while signed in."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+", db_index=False)
    platform = models.CharField(max_length=12)
    scope = models.CharField(max_length=64)
    member = models.CharField(max_length=210)
    name = models.CharField(max_length=100, blank=True)
    code_digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the code.")
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "scope", "member"], name="chat_link_code_once"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="chat_link_code_by_end")]

    def __str__(self) -> str:
        return f"code of {self.name or self.member}"
