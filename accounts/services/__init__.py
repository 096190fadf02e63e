"""Verbs that change organizations, users, groups, contact methods, API keys and roles."""

from accounts.services.api_keys import create_api_key, revoke_api_key
from accounts.services.contact_methods import (
    create_contact_method,
    delete_contact_method,
    renew_push_subscription,
    request_code,
    request_test,
    update_contact_method,
    verify_contact_method,
)
from accounts.services.groups import Member, create_group, delete_group, update_group
from accounts.services.members import add_member, give_role, move_member, remove_member
from accounts.services.opt_outs import opt_in, opt_out
from accounts.services.organizations import create_organization, update_organization
from accounts.services.roles import create_role, delete_role, update_role
from accounts.services.users import (
    choose_shift_notices,
    create_user,
    deactivate_user,
    reactivate_user,
    transfer_ownership,
    update_profile,
    update_user,
)

__all__ = [
    "Member",
    "add_member",
    "choose_shift_notices",
    "create_api_key",
    "create_contact_method",
    "create_group",
    "create_organization",
    "create_role",
    "create_user",
    "deactivate_user",
    "delete_contact_method",
    "delete_group",
    "delete_role",
    "give_role",
    "move_member",
    "opt_in",
    "opt_out",
    "reactivate_user",
    "remove_member",
    "renew_push_subscription",
    "request_code",
    "request_test",
    "revoke_api_key",
    "transfer_ownership",
    "update_contact_method",
    "update_group",
    "update_organization",
    "update_profile",
    "update_role",
    "update_user",
    "verify_contact_method",
]
