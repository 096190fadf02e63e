"""Contact methods: the addresses at which a person or a group is notified."""

import re

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Lower

from accounts.contact_kinds import CONTACT_KINDS, AddressType
from accounts.models.groups import Group
from accounts.models.users import User

EMAIL_OFFICIAL = "Email-Official"


class Priority(models.TextChoices):
    """The priority of an alert, set by its policy or play. `accounts.windows` has the order."""

    CRITICAL = "critical", "Critical"
    HIGH = "high", "High"
    MEDIUM = "medium", "Medium"
    LOW = "low", "Low"
    NONE = "none", "None"


class ContactMethod(models.Model):
    """One way to reach one person, or a contact that a group shares: a mailbox, a chat channel, a webhook."""

    class Kind(models.TextChoices):
        """The kinds of contact methods; each has its channel."""

        EMAIL = "email", CONTACT_KINDS["email"].label
        SMS = "sms", CONTACT_KINDS["sms"].label
        VOICE = "voice", CONTACT_KINDS["voice"].label
        PUSH = "push", CONTACT_KINDS["push"].label
        CHAT = "chat", CONTACT_KINDS["chat"].label
        WEBHOOK = "webhook", CONTACT_KINDS["webhook"].label
        APPRISE = "apprise", CONTACT_KINDS["apprise"].label

    # The kinds that a group may have, because several people can read them. A phone or browser belongs to one person.
    SHARED = tuple(kind for kind in Kind if CONTACT_KINDS[kind].is_shared)

    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="contact_methods")
    # No index of its own: that of group_contact_label_once begins with the group.
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="contact_methods", db_index=False
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.EMAIL)
    label = models.CharField(max_length=40, help_text="For example Email-Official or SMS-Personal.")
    address = models.CharField(
        max_length=2_000,
        help_text="E-mail address, phone number (E.164), URL, or the push subscription of a browser (JSON).",
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="Order of use; lowest first.")
    enabled = models.BooleanField(default=True)
    delay_minutes = models.DecimalField(
        max_digits=6,
        decimal_places=1,
        default=0,
        help_text="Minutes after a step reaches the person until this method is used.",
    )
    repeat_count = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many more times it is used in one step."
    )
    repeat_gap_minutes = models.DecimalField(
        max_digits=6, decimal_places=1, default=5, db_default=5, help_text="Minutes between those times."
    )
    windows = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        blank=True,
        help_text="When it is used, in the person's time zone, as accounts.windows reads it; empty: at any time.",
    )
    from_priority = models.CharField(
        max_length=10,
        choices=Priority.choices,
        default=Priority.NONE,
        db_default=Priority.NONE,
        help_text="It is used for alerts of this priority and above; None: for every alert.",
    )
    critical_outside_windows = models.BooleanField(
        default=False, db_default=False, help_text="Whether Critical alerts are sent over it outside its windows, too."
    )
    verified_at = models.DateTimeField(null=True, blank=True, help_text="Unverified methods are not used.")
    code_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the code last sent.")
    code_expires_at = models.DateTimeField(null=True, blank=True)
    code_tries = models.PositiveSmallIntegerField(default=0)
    tested_at = models.DateTimeField(null=True, blank=True, help_text="When a test message was last requested.")
    send_error = models.TextField(
        blank=True, default="", db_default="", help_text="Why the last code or test message could not be sent."
    )
    failing_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when its address has been refused. Until it works again, it is used after the others and "
        "nobody counts as reached by it.",
    )
    failing_reason = models.TextField(
        blank=True, default="", db_default="", help_text="The reason of the last refusal."
    )
    failures = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many messages in a row were refused."
    )
    failed_at = models.DateTimeField(null=True, blank=True, help_text="When the last of them was refused.")
    stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="When its owner sent STOP; no SMS arrives until they send START."
    )
    owner_notified_at = models.DateTimeField(
        null=True, blank=True, help_text="When its owner was last notified that it fails, or had no other method."
    )
    managers_notified_at = models.DateTimeField(
        null=True, blank=True, help_text="When the Managers were last notified that it fails."
    )

    class Meta:
        ordering = ["position", "id"]
        indexes = [
            # Finds recent refusals of a kind. Partial, because nearly all addresses work.
            models.Index(
                fields=["kind", "failed_at"], condition=Q(failed_at__isnull=False), name="contact_failed_lately"
            ),
            # Finds the old subscription when a browser renews it. A hash, because addresses are long.
            HashIndex(fields=["address"], condition=Q(kind="push"), name="contact_by_subscription"),
            # Finds the owner of the phone that sent an SMS.
            HashIndex(fields=["address"], condition=Q(kind="sms"), name="contact_by_number"),
        ]
        constraints = [
            models.UniqueConstraint("user", Lower("label"), name="contact_label_once"),
            models.UniqueConstraint(
                "group", Lower("label"), condition=Q(group__isnull=False), name="group_contact_label_once"
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False, kind__in=["email", "chat", "webhook"]),
                name="contact_of_a_person_or_shared",
            ),
            models.CheckConstraint(
                condition=~Q(label=EMAIL_OFFICIAL) | Q(kind="email", enabled=True, verified_at__isnull=False),
                name="email_official_always_usable",
            ),
            models.CheckConstraint(
                condition=~Q(label=EMAIL_OFFICIAL) | Q(windows=Value([], models.JSONField())),
                name="email_official_at_any_time",
            ),
            models.CheckConstraint(
                condition=~Q(label=EMAIL_OFFICIAL) | Q(from_priority=Priority.NONE),
                name="email_official_at_any_priority",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label}: {self.masked_address}"

    @property
    def holder(self) -> User | Group:
        """Return the person or group that the method belongs to; a check constraint ensures that there is one."""
        holder = self.user or self.group
        assert holder is not None  # noqa: S101 - for the type alone
        return holder

    @property
    def masked_address(self) -> str:
        """Return the address in the form that others may see."""
        return masked_address(self.kind, self.address)


def masked_address(kind: str, address: str) -> str:
    """Return an address in the form that others may see.

    E-mail addresses and phone numbers are returned in full. Subscriptions and URLs hold secrets, so only the host or
    the scheme is returned, with the last four characters of a long path.
    """
    address_type = CONTACT_KINDS[kind].address_type
    if address_type in {AddressType.EMAIL, AddressType.PHONE_NUMBER}:
        return address
    if address_type is AddressType.PUSH_SUBSCRIPTION:
        match = re.search(r"://([^/:\"]+)", address)
        push_service = match[1] if match else "its push service"
        return f"A browser, over {push_service}"
    scheme, _, target = address.partition("://")
    if address_type is AddressType.APPRISE_URL:
        return f"{scheme}://…"
    host, _, path = target.partition("/")
    # Four characters distinguish two channels of one service. A short path would reveal half of its secret.
    tail = path[-4:] if len(path) >= 8 else ""
    return f"{scheme}://{host.split('?')[0]}/…{tail}"
