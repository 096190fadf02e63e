"""Groups, their members, and groups within groups."""

from django.db import models
from django.db.models.functions import Lower

from accounts.models.organizations import Organization
from accounts.models.users import User


class Group(models.Model):
    """A team of users whose on-call members are paged, with the groups within it."""

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
        help_text="Groups whose members belong to this group, too, in the same roles.",
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint("organization", Lower("name"), name="group_name_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def time_zone(self) -> str:
        """Return the time zone for messages to the group's contacts: the organization's."""
        return self.organization.time_zone


class GroupNesting(models.Model):
    """One group within another. Users who are on call in the inner group are on call in the outer one, too."""

    # No index of its own: that of nesting_once begins with the group.
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
    """The role of a member within a group; not a platform role."""

    PRIMARY = "primary", "Primary"
    SECONDARY = "secondary", "Secondary"
    MANAGER = "manager", "Manager"


class GroupMember(models.Model):
    """One person in one group with one role. A person with two roles in a group has two rows."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=GroupRole.choices, default=GroupRole.PRIMARY)
    position = models.PositiveSmallIntegerField(default=0, help_text="Order within the role; lowest first.")

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["group", "user", "role"], name="member_once_per_role")]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"
