"""The entitlements by code, and the set of them that each built-in role holds."""

from enum import StrEnum


class Entitlement(StrEnum):
    """One right; the value is its code in the API and the database."""

    INBOUND_INTEGRATIONS = "InboundIntegrations_GlobalAccess"
    OUTBOUND_INTEGRATIONS = "OutboundIntegrations_GlobalAccess"
    RULES_VIEW = "Message_Rule_View"
    RULES_UPDATE = "Message_Rule_Update"
    GROUPS_VIEW_ALL = "Groups_View_GlobalAccess"
    GROUPS_ADD = "Groups_Add_GlobalAccess"
    GROUPS_UPDATE_ALL = "Groups_Update_GlobalAccess"
    GROUPS_VIEW_OWN = "Groups_View_GroupAccess"
    GROUPS_UPDATE_OWN = "Groups_Update_GroupAccess"
    ALERTS_SEND = "Messages_Send_GlobalAccess"
    ALERTS_VIEW_ALL = "Messages_View_GlobalAccess"
    ALERTS_VIEW_GROUPS = "Messages_View_GroupAccess"
    ALERTS_VIEW_OWN = "Messages_View_UserAccess"
    BRIDGES = "Bridge_Maintenance"
    AUDIT_VIEW = "AuditTrail_View"
    SECURITY = "SecurityAdministration_Global_Access"
    BILLING = "BillingAdministration_Global_Access"
    PROFILE_VIEW = "Users_View_UserAccess"
    PROFILE_UPDATE = "User_Update_UserAccess"
    OWN_NOTIFICATIONS_UPDATE = "Users_Notifications_Update_UserAccess"


class BuiltinRole(StrEnum):
    """The seven platform roles that every organization has."""

    OWNER = "Owner"
    APP_ADMIN = "App Admin"
    INTEGRATIONS_ADMIN = "Integrations Admin"
    BASIC = "Basic"
    BILLING_ADMIN = "Billing Admin"
    SEND_MESSAGE = "Send Message"
    SYSTEM_VIEWER = "System Viewer"


_E = Entitlement
_EVERYONE = frozenset({_E.PROFILE_VIEW, _E.PROFILE_UPDATE, _E.OWN_NOTIFICATIONS_UPDATE})
_APP_ADMIN = _EVERYONE | {
    _E.INBOUND_INTEGRATIONS,
    _E.OUTBOUND_INTEGRATIONS,
    _E.RULES_VIEW,
    _E.RULES_UPDATE,
    _E.GROUPS_VIEW_ALL,
    _E.GROUPS_ADD,
    _E.GROUPS_UPDATE_ALL,
    _E.ALERTS_SEND,
    _E.ALERTS_VIEW_ALL,
    _E.BRIDGES,
    _E.AUDIT_VIEW,
    _E.SECURITY,
}
_RESPONDER = _EVERYONE | {_E.ALERTS_VIEW_GROUPS, _E.ALERTS_VIEW_OWN}

BUILTIN_ENTITLEMENTS: dict[BuiltinRole, frozenset[Entitlement]] = {
    BuiltinRole.OWNER: _APP_ADMIN | {_E.BILLING},
    BuiltinRole.APP_ADMIN: _APP_ADMIN,
    BuiltinRole.INTEGRATIONS_ADMIN: _RESPONDER
    | {
        _E.INBOUND_INTEGRATIONS,
        _E.OUTBOUND_INTEGRATIONS,
        _E.RULES_VIEW,
        _E.GROUPS_VIEW_ALL,
        _E.ALERTS_SEND,
        _E.BRIDGES,
    },
    BuiltinRole.BASIC: _RESPONDER | {_E.GROUPS_VIEW_OWN, _E.GROUPS_UPDATE_OWN},
    BuiltinRole.BILLING_ADMIN: _EVERYONE | {_E.BILLING},
    BuiltinRole.SEND_MESSAGE: _RESPONDER | {_E.ALERTS_SEND},
    BuiltinRole.SYSTEM_VIEWER: _EVERYONE | {_E.ALERTS_VIEW_ALL, _E.AUDIT_VIEW},
}
