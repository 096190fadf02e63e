"""Users, their roles and their opt-outs."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models.organizations import Organization, check_time_zone
from accounts.permissions import may_enter_admin


class Role(models.Model):
    """A platform role: a set of entitlements."""

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
    """Find users by e-mail, without regard to case. Users are created by `accounts.services.users.create_user`."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user who signs in with this e-mail. Raises User.DoesNotExist."""
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser):
    """A person who belongs to one organization and signs in with an e-mail address."""

    class Kind(models.TextChoices):
        """Whether the person can respond to alerts or only receives them."""

        STANDARD = "standard", "Standard"
        STAKEHOLDER = "stakeholder", "Stakeholder (receives, cannot respond)"

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="users")
    email = models.EmailField(unique=True, help_text="Stored in lower case.")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.STANDARD)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    is_active = models.BooleanField(default=True)
    is_owner = models.BooleanField(default=False, help_text="Whether the user is the organization's one Owner.")
    roles = models.ManyToManyField(Role, related_name="users", blank=True)
    shift_notices = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether they are notified when somebody puts them on a shift or makes them a cover.",
    )
    recovery_notices = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether they are notified when the signal of an alert comes back that they were notified of.",
    )
    session_round = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="The number of deactivations; each ends all sessions."
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
            models.CheckConstraint(condition=Q(is_owner=False) | Q(is_active=True), name="owner_is_active"),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Return the value that a session must hold to be valid: Django's, and another after each deactivation."""
        session_hash: str = super()._get_session_auth_hash(secret=secret)  # type: ignore[misc]
        return f"{session_hash}:{self.session_round}" if self.session_round else session_hash

    # Django's permission protocol; the answers come from accounts.backends.EntitlementBackend.
    @property
    def is_staff(self) -> bool:
        """Whether the user may enter the admin: they hold an entitlement for one of its pages."""
        return may_enter_admin(self)

    @property
    def is_superuser(self) -> bool:
        """Always False: no user has rights beyond their entitlements."""
        return False

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Return whether the user holds the entitlement `accounts.<code>`."""
        from django.contrib.auth import get_backends  # noqa: PLC0415

        return any(backend.has_perm(self, perm, obj) for backend in get_backends())

    def has_perms(self, perms: Any, obj: Any = None) -> bool:
        """Return whether the user holds all of these entitlements."""
        return all(self.has_perm(perm, obj) for perm in perms)

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002 - the protocol's name
        """Return whether the user may enter the admin; each of its pages checks its own entitlement."""
        return self.is_staff


class OptOut(models.Model):
    """A person who is not notified about one integration."""

    user = models.ForeignKey(User, models.CASCADE, related_name="opt_outs")
    # No foreign key, because this app cannot import that of the integrations. Rows of a deleted one do no harm.
    integration_id = models.BigIntegerField(help_text="The integration; it may be deleted.")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Its index also serves opted_out.sql.
            models.UniqueConstraint(fields=["integration_id", "user"], name="opt_out_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.integration_id}"
