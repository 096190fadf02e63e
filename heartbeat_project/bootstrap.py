"""Creates an organization with its policies, its Owner, and a group that is notified first."""

from datetime import datetime

from accounts.models.groups import GroupRole
from accounts.models.users import User
from accounts.services.groups import Member, create_group
from accounts.services.users import create_user
from escalation.policies.shipped_policies import found_organization

FIRST_GROUP = "First responders"


def found_with_owner(*, name: str, email: str, password: str, now: datetime) -> User:
    """Create an organization and return its Owner, who signs in with this password.

    Raises FieldError for the field "name" or "email" if its value cannot be used.
    """
    organization = found_organization(name=name, now=now)
    owner = create_user(organization, email=email, name="Owner", now=now, is_owner=True)
    owner.set_password(password)
    owner.save(update_fields=["password"])
    create_group(
        organization,
        actor=None,
        now=now,
        name=FIRST_GROUP,
        description="The people who are notified first.",
        members=[Member(user=owner.pk, role=GroupRole.PRIMARY)],
    )
    return owner
