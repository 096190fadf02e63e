"""Who holds what: the table of the domain, written out, against the code."""

import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.test import APIRequestFactory

from accounts.api.permissions import entitled
from accounts.entitlements import BUILTIN_ENTITLEMENTS, BuiltinRole, Entitlement
from accounts.permissions import may

OWNER, APP, INTEGRATIONS = "Owner", "App Admin", "Integrations Admin"
BASIC, BILLING, SEND, VIEWER = "Basic", "Billing Admin", "Send Message", "System Viewer"
ALL = {OWNER, APP, INTEGRATIONS, BASIC, BILLING, SEND, VIEWER}

HOLDERS = {
    "InboundIntegrations_GlobalAccess": {OWNER, APP, INTEGRATIONS},
    "OutboundIntegrations_GlobalAccess": {OWNER, APP, INTEGRATIONS},
    "Message_Rule_View": {OWNER, APP, INTEGRATIONS},
    "Message_Rule_Update": {OWNER, APP},
    "Groups_View_GlobalAccess": {OWNER, APP, INTEGRATIONS},
    "Groups_Add_GlobalAccess": {OWNER, APP},
    "Groups_Update_GlobalAccess": {OWNER, APP},
    "Groups_View_GroupAccess": {BASIC},
    "Groups_Update_GroupAccess": {BASIC},
    "Messages_Send_GlobalAccess": {OWNER, APP, INTEGRATIONS, SEND},
    "Messages_View_GlobalAccess": {OWNER, APP, VIEWER},
    "Messages_View_GroupAccess": {INTEGRATIONS, BASIC, SEND},
    "Messages_View_UserAccess": {INTEGRATIONS, BASIC, SEND},
    "Bridge_Maintenance": {OWNER, APP, INTEGRATIONS},
    "AuditTrail_View": {OWNER, APP, VIEWER},
    "SecurityAdministration_Global_Access": {OWNER, APP},
    "BillingAdministration_Global_Access": {OWNER, BILLING},
    "Users_View_UserAccess": ALL,
    "User_Update_UserAccess": ALL,
    "Users_Notifications_Update_UserAccess": ALL,
}


def test_there_are_exactly_these_entitlements_and_roles():
    assert {code.value for code in Entitlement} == set(HOLDERS)
    assert {role.value for role in BuiltinRole} == set(BUILTIN_ENTITLEMENTS) == ALL


@pytest.mark.parametrize("code", sorted(HOLDERS))
def test_each_entitlement_is_held_by_the_roles_of_the_table(code):
    assert {role.value for role, codes in BUILTIN_ENTITLEMENTS.items() if code in codes} == HOLDERS[code]


class Person:
    """Somebody signed in who holds these codes."""

    is_authenticated = True

    def __init__(self, *codes, active=True):
        self.codes, self.is_active = codes, active

    def has_perm(self, perm):
        return perm.removeprefix("accounts.") in self.codes


def allowed(permission, user, method):
    request = APIRequestFactory().generic(method, "/")
    request.user = user
    return permission().has_permission(request, None)


def test_a_view_asks_one_entitlement_to_read_and_another_to_write():
    permission = entitled(read=Entitlement.RULES_VIEW, write=Entitlement.RULES_UPDATE)
    reader, writer = Person("Message_Rule_View"), Person("Message_Rule_Update")
    for method in ("GET", "HEAD", "OPTIONS"):
        assert allowed(permission, reader, method)
        assert not allowed(permission, writer, method)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert allowed(permission, writer, method)
        assert not allowed(permission, reader, method)


def test_a_tuple_of_entitlements_means_any_of_them():
    permission = entitled(read=(Entitlement.GROUPS_VIEW_ALL, Entitlement.GROUPS_VIEW_OWN))
    assert allowed(permission, Person("Groups_View_GlobalAccess"), "GET")
    assert allowed(permission, Person("Groups_View_GroupAccess"), "GET")
    assert not allowed(permission, Person("Bridge_Maintenance"), "GET")


def test_no_entitlement_asked_means_anybody_who_is_signed_in_and_active():
    assert allowed(entitled(), Person(), "POST")
    assert not allowed(entitled(), Person(active=False), "GET")
    assert not allowed(entitled(), AnonymousUser(), "GET")


def test_nobody_signed_in_may_nothing():
    assert not any(may(AnonymousUser(), code) for code in Entitlement)
    assert not may(None, Entitlement.BRIDGES)
