"""What people did to alerts from a message."""

from django.db import models

from accounts.models.users import User
from alerting.models.alerts import Alert


class Response(models.Model):
    """What a person did to an alert from a message: each action once for each message, over any channel.

    If two responses come at once, the unique constraint lets one in. A response that could not be carried out has no
    row.
    """

    class Via(models.TextChoices):
        """The channel over which the response came."""

        PAGE = "page", "Link"
        SMS = "sms", "SMS"
        VOICE = "voice", "Call"
        CHAT = "chat", "Chat"
        EMAIL = "email", "E-mail"

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="responses", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    action = models.CharField(max_length=24, help_text="As alerting.states.Action.")
    via = models.CharField(max_length=10, choices=Via.choices)
    reference = models.CharField(
        max_length=100,
        help_text="What may be used once: the id of the message that carried a link or button, or the provider's "
        "id of a reply or call; for a note its text is part of it.",
    )
    answer_text = models.TextField(help_text="The answer that the person got.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "id"]
        constraints = [models.UniqueConstraint(fields=["alert", "action", "reference"], name="response_once")]

    def __str__(self) -> str:
        return self.answer_text
