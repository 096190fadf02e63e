"""The admin of escalation: policies, plays, shifts, out of office, and stored mail."""

from escalation.admin.absences import OutOfOfficeAdmin
from escalation.admin.plays import ResponsePlayAdmin
from escalation.admin.policies import EscalationPolicyAdmin
from escalation.admin.shifts import ShiftAdmin
from escalation.admin.stored_mail import StoredMailAdmin

__all__ = ["EscalationPolicyAdmin", "OutOfOfficeAdmin", "ResponsePlayAdmin", "ShiftAdmin", "StoredMailAdmin"]
