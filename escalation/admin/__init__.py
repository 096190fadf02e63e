"""Escalation: policies, plays, and the messages that were kept instead of sent."""

from escalation.admin.outbox import KeptMessageAdmin
from escalation.admin.plays import ResponsePlayAdmin
from escalation.admin.policies import EscalationPolicyAdmin

__all__ = ["EscalationPolicyAdmin", "KeptMessageAdmin", "ResponsePlayAdmin"]
