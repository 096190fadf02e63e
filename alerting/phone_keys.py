"""The phone keys of the actions, the same in calls and in replies by SMS (pure)."""

from typing import Final

from alerting.states import Action

DIGITS: Final = {"6": Action.ESCALATE, "7": Action.ACKNOWLEDGE, "8": Action.ASSIGN, "9": Action.CLOSE}
