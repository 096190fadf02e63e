"""The models of organizations, users, groups, contact methods and API keys."""

# Django finds an app's models through this module.
from accounts.models import (  # noqa: F401
    access,
    audit,
    contact_methods,
    groups,
    installation,
    organizations,
    users,
)
