"""Organizations and the people in them."""

import re
import zoneinfo
from functools import cache
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Lower

from accounts.entitlements import BuiltinRole, Entitlement

EMAIL_OFFICIAL = "Email-Official"
# For so long what follows a first message is collected. A window of minutes would keep people waiting for a page.
BUNDLE_SECONDS = 5
MOST_BUNDLE_SECONDS = 600


@cache
def time_zones() -> frozenset[str]:
    """Return the names of all time zones; read from the files of the system once, because that takes long."""
    # localtime is whatever this machine is set to, and Factory is a placeholder for that.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def check_time_zone(name: str) -> None:
    """Raise ValidationError unless `name` is an IANA time zone."""
    if name not in time_zones():
        raise ValidationError(f"“{name}” is not a time zone. Use a name such as Europe/Berlin.", code="time_zone")


class Organization(models.Model):
    """One customer; nobody ever sees another organization's data."""

    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    bundle_seconds = models.PositiveSmallIntegerField(
        "bundle for (seconds)",
        default=BUNDLE_SECONDS,
        db_default=BUNDLE_SECONDS,
        help_text="When many alerts hit one person, the first is sent at once, and what follows within so many seconds "
        "is sent together in one message. 0 sends every alert by itself.",
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(bundle_seconds__lte=MOST_BUNDLE_SECONDS),
                name="bundle_within_minutes",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Role(models.Model):
    """A platform role: a bundle of entitlements."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="roles")
    name = models.CharField(max_length=100)
    builtin = models.CharField(
        max_length=30,
        blank=True,
        choices=[(role.value, role.value) for role in BuiltinRole],
        help_text="Which of the seven built-in roles this is; empty for a custom role.",
    )
    entitlements = ArrayField(
        models.CharField(max_length=60, choices=[(code.value, code.value) for code in Entitlement]),
        default=list,
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="role_name_unique"),
            models.UniqueConstraint(
                fields=["organization", "builtin"],
                condition=~Q(builtin=""),
                name="role_builtin_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """Find users by e-mail, whatever its case; they are made by `accounts.services.create_user`."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user who signs in with this e-mail."""
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser):
    """A person, who belongs to one organization and signs in with an e-mail address."""

    class Kind(models.TextChoices):
        """Whether the person can respond to alerts, or only receives them."""

        STANDARD = "standard", "Standard"
        STAKEHOLDER = "stakeholder", "Stakeholder (receives, cannot respond)"

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="users")
    email = models.EmailField(unique=True, help_text="Stored in lower case.")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.STANDARD)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    is_active = models.BooleanField(default=True)
    is_owner = models.BooleanField(default=False, help_text="The organization's one Owner; transferable.")
    roles = models.ManyToManyField(Role, related_name="users", blank=True)
    slack_id = models.CharField(
        "Slack member ID",
        max_length=24,
        blank=True,
        default="",
        db_default="",
        help_text="Who presses a button in Slack is this person. In Slack: your profile, then “Copy member ID”.",
    )
    shift_notices = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Notified when somebody puts them on a shift, or makes them a cover.",
    )
    created_at = models.DateTimeField()

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization"], condition=Q(is_owner=True), name="one_owner"),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="email_lower_case"),
            models.UniqueConstraint(
                fields=["organization", "slack_id"], condition=~Q(slack_id=""), name="slack_id_once"
            ),
            models.CheckConstraint(condition=Q(is_owner=False) | Q(is_active=True), name="owner_is_active"),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    # Django's permission protocol; the answers come from accounts.backends.EntitlementBackend.
    @property
    def is_staff(self) -> bool:
        """Whether the user may enter the admin: whoever holds an entitlement for one of its pages."""
        from accounts.permissions import may_enter_admin  # noqa: PLC0415 - permissions need this model

        return may_enter_admin(self)

    @property
    def is_superuser(self) -> bool:
        """Nobody stands above the entitlements."""
        return False

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Answer Django's question for `accounts.<entitlement code>`."""
        from django.contrib.auth import get_backends  # noqa: PLC0415

        return any(backend.has_perm(self, perm, obj) for backend in get_backends())

    def has_perms(self, perms: Any, obj: Any = None) -> bool:
        """Whether the user holds all of them."""
        return all(self.has_perm(perm, obj) for perm in perms)

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002 - the protocol's name
        """Each admin page asks for its own entitlement; no app is closed as a whole."""
        return self.is_staff


class Group(models.Model):
    """A team that is paged together."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="groups")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    groups = models.ManyToManyField(
        "self",
        through="GroupNesting",
        through_fields=("group", "child"),
        symmetrical=False,
        related_name="within",
        blank=True,
        help_text="Groups whose people are members of this one, too, in their roles there.",
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint("organization", Lower("name"), name="group_name_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def time_zone(self) -> str:
        """Return the zone in which the group's own contacts read times: the organization's."""
        return self.organization.time_zone


class GroupNesting(models.Model):
    """One group within another: who is on call in it is on call in the other, too."""

    # nesting_once serves what an index of its own would.
    group = models.ForeignKey(Group, models.CASCADE, related_name="nestings", db_index=False)
    child = models.ForeignKey(Group, models.RESTRICT, related_name="+")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["group", "child"], name="nesting_once"),
            models.CheckConstraint(condition=~models.Q(group=models.F("child")), name="nesting_not_in_itself"),
        ]

    def __str__(self) -> str:
        return f"{self.child} within {self.group}"


class GroupRole(models.TextChoices):
    """What a member is in a group; not a platform role."""

    PRIMARY = "primary", "Primary"
    SECONDARY = "secondary", "Secondary"
    MANAGER = "manager", "Manager"


class GroupMember(models.Model):
    """One person in one group in one group role; a person may hold several."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=GroupRole.choices, default=GroupRole.PRIMARY)
    position = models.PositiveSmallIntegerField(default=0, help_text="Order within the role; lowest first.")

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["group", "user", "role"], name="member_once_per_role")]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"


class ContactMethod(models.Model):
    """One way to reach one person, or a place that a group shares: a mailbox, a chat channel, a webhook."""

    class Kind(models.TextChoices):
        """Over what the person is told; each has its channel."""

        EMAIL = "email", "E-mail"
        SMS = "sms", "SMS"
        VOICE = "voice", "Call"
        PUSH = "push", "Push"
        CHAT = "chat", "Chat"
        WEBHOOK = "webhook", "Webhook"
        APPRISE = "apprise", "Apprise"

    # What a group may have: where several read along. A phone is somebody's.
    SHARED = (Kind.EMAIL, Kind.CHAT, Kind.WEBHOOK)

    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="contact_methods")
    # group_contact_label_once serves what an index of its own would.
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="contact_methods", db_index=False
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.EMAIL)
    label = models.CharField(max_length=40, help_text="For example Email-Official or SMS-Personal.")
    address = models.CharField(
        max_length=2_000,
        help_text="E-mail address, phone number (E.164), URL, or what a browser calls its push subscription (JSON).",
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
    verified_at = models.DateTimeField(null=True, blank=True, help_text="Unverified methods are not used.")
    code_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the code last sent.")
    code_expires_at = models.DateTimeField(null=True, blank=True)
    code_tries = models.PositiveSmallIntegerField(default=0)
    tested_at = models.DateTimeField(null=True, blank=True, help_text="When a test message was last asked for.")
    send_error = models.TextField(
        blank=True, default="", db_default="", help_text="Why the last code or test message could not be sent."
    )
    failing_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when its address is refused; then it is used after the others and reaches nobody.",
    )
    failing_reason = models.TextField(blank=True, default="", db_default="", help_text="How it was refused last.")
    failures = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many messages in a row the address refused."
    )
    failed_at = models.DateTimeField(null=True, blank=True, help_text="When it refused the last of them.")
    owner_notified_at = models.DateTimeField(
        null=True, blank=True, help_text="When its owner was last notified that it fails, or had no other method."
    )
    managers_notified_at = models.DateTimeField(
        null=True, blank=True, help_text="When the Managers were last notified that it fails."
    )

    class Meta:
        ordering = ["position", "id"]
        indexes = [
            # What was refused lately, kind by kind; all but a few addresses work.
            models.Index(
                fields=["kind", "failed_at"], condition=Q(failed_at__isnull=False), name="contact_failed_lately"
            ),
            # A browser that renews its subscription names the old one.
            HashIndex(fields=["address"], condition=Q(kind="push"), name="contact_by_subscription"),
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
        ]

    def __str__(self) -> str:
        return f"{self.label}: {self.shown}"

    @property
    def holder(self) -> User | Group:
        """Return whose it is; the database holds that there is one."""
        holder = self.user or self.group
        assert holder is not None  # noqa: S101 - for the type alone
        return holder

    @property
    def shown(self) -> str:
        """Return the address as others may see it."""
        return shown_address(self.kind, self.address)


def shown_address(kind: str, address: str) -> str:
    """Return an address as others may see it: what holds a secret is cut down to where it leads."""
    kinds = ContactMethod.Kind
    if kind in {kinds.EMAIL, kinds.SMS, kinds.VOICE}:
        return address
    if kind == kinds.PUSH:
        found = re.search(r"://([^/:\"]+)", address)
        return f"A browser, over {found[1] if found else 'its push service'}"
    scheme, _, rest = address.partition("://")
    if kind == kinds.APPRISE:
        return f"{scheme}://…"
    host, _, path = rest.partition("/")
    # Four letters tell two channels of one service apart; of a short path they would be too much of it.
    return f"{scheme}://{host.split('?')[0]}/…{path[-4:] if len(path) >= 8 else ''}"


class OptOut(models.Model):
    """A person who is not told about one integration."""

    user = models.ForeignKey(User, models.CASCADE, related_name="opt_outs")
    integration_id = models.BigIntegerField(help_text="Of the app above; it may be deleted, which does no harm here.")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Also the index of the question who of these people opted out.
            models.UniqueConstraint(fields=["integration_id", "user"], name="opt_out_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.integration_id}"


class ApiKey(models.Model):
    """A key that can do what its user can; only its hash is kept."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, help_text="The visible beginning of the key.")
    key_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="Kept to the minute.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
