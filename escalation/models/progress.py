"""When recurring work was last done."""

from django.db import models


class Progress(models.Model):
    """When recurring work was last done, one row for each kind of it; see escalation.engine.progress."""

    class Work(models.TextChoices):
        """The kinds of work whose progress is watched."""

        JUDGED = "judged", "Deadlines up to this moment were judged"
        ENGINE = "engine", "An engine worker began its round"
        DELIVERY = "delivery", "A delivery worker began its round"
        SENT = "sent", "A message left"
        GIVEN_UP = "given_up", "A page was given up"

    work = models.CharField(max_length=12, choices=Work.choices, primary_key=True)
    at = models.DateTimeField()
    count = models.BigIntegerField(
        default=0, db_default=0, help_text="How often it was ever done; only for work that is counted."
    )

    class Meta:
        verbose_name_plural = "progress"

    def __str__(self) -> str:
        return f"{self.work}: {self.at}"
