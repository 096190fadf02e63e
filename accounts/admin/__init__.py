"""The organization and its people: users, groups, roles, API keys."""

from accounts.admin.api_keys import ApiKeyAdmin
from accounts.admin.groups import GroupAdmin
from accounts.admin.organizations import OrganizationSettingsAdmin
from accounts.admin.roles import RoleAdmin
from accounts.admin.users import UserAdmin

__all__ = ["ApiKeyAdmin", "GroupAdmin", "OrganizationSettingsAdmin", "RoleAdmin", "UserAdmin"]
