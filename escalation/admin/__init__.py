"""Escalation: policies, plays, shifts, out of office, and the messages that were kept instead of sent."""

from escalation.admin.absences import OutOfOfficeAdmin
from escalation.admin.outbox import KeptMessageAdmin
from escalation.admin.plays import ResponsePlayAdmin
from escalation.admin.policies import EscalationPolicyAdmin
from escalation.admin.shifts import ShiftAdmin

__all__ = ["EscalationPolicyAdmin", "KeptMessageAdmin", "OutOfOfficeAdmin", "ResponsePlayAdmin", "ShiftAdmin"]
