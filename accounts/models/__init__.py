"""The models of organizations, users, their accounts in chats, groups, contact methods and API keys."""

# Django finds an app's models through this module.
from accounts.models import (  # noqa: F401
    access,
    audit,
    chat_members,
    contact_methods,
    groups,
    installation,
    organizations,
    users,
)
