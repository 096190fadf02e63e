"""Our own outages and clocks: web processes that listened, ticks that ran, outages, and steps of the clock."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q


class IngestState(models.Model):
    """The one row that says until when all pings that were sent to this installation are stored."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    stored_until = models.DateTimeField(help_text="When the newest pulse that counts was sent, by any web process.")
    outage_until = models.DateTimeField(null=True, help_text="The end of the newest outage.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_ingest_state")]

    def __str__(self) -> str:
        return str(self.stored_until)


class IngestProcess(models.Model):
    """A web process, and until when all pings that were sent to it are stored; detection waits for one that is behind.

    A process that ends deletes its row. The row of one that was killed is deleted after some minutes.
    """

    process = models.UUIDField(primary_key=True)
    stored_until = models.DateTimeField(help_text="When its newest pulse that counts was sent.")
    pulsed_at = models.DateTimeField(help_text="When that pulse was committed.")

    def __str__(self) -> str:
        return f"{self.process}: {self.stored_until}"


class Tick(models.Model):
    """A periodic task, and how many of its ticks came by Celery; workers write its row from time to time."""

    task = models.CharField(max_length=100, primary_key=True)
    started_at = models.DateTimeField(help_text="When the newest tick that was noted began.")
    by_celery = models.BigIntegerField(default=0)
    by_itself = models.BigIntegerField(
        default=0, help_text="Ticks that a worker ran because none came over the broker."
    )
    by_itself_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.task


class Outage(models.Model):
    """A time in which pings could not be received; deadlines of timers that ran in it are recalculated."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    refused_pings = models.IntegerField(
        default=0, db_default=0, help_text="Pings that were answered 503 and that a web process counted."
    )
    moved_through = models.BigIntegerField(default=0, help_text="Heartbeats up to this id have been recalculated.")
    moved_count = models.BigIntegerField(default=0)
    done_at = models.DateTimeField(null=True)
    mail_due = models.BooleanField(
        default=False, db_default=False, help_text="Recipients are still to be mailed about new intervals over an hour."
    )

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=Q(ended_at__gt=F("started_at")), name="outage_is_forward")]
        indexes = [
            models.Index(fields=["id"], condition=Q(done_at=None), name="outage_to_apply"),
            models.Index(fields=["id"], condition=Q(mail_due=True), name="outage_to_mail"),
        ]

    def __str__(self) -> str:
        return f"{self.started_at} to {self.ended_at}"


class DatabaseClock(models.Model):
    """The one row that says what the database's clock has shown, and which machine's clock is wrong."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    latest_at = models.DateTimeField(help_text="The newest time that any process read, to the second.")
    set_back = models.DurationField(
        default=timedelta, db_default=timedelta(), help_text="By how much it was set back, all steps together."
    )
    wrong_machine = models.CharField(max_length=200, blank=True, default="", db_default="")
    wrong_by = models.DurationField(null=True, help_text="By how much that machine's clock is ahead.")
    wrong_at = models.DateTimeField(null=True, help_text="When that was last seen.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_clock_row")]

    def __str__(self) -> str:
        return str(self.latest_at)


class ClockStep(models.Model):
    """A step of the database's clock. After a step back, everything that waits for a time is moved back by it, once."""

    class Stage(models.IntegerChoices):
        """What is moved, in this order."""

        HEARTBEATS = 0, "Deadlines"
        RUNS = 1, "Escalations"
        NOTIFICATIONS = 2, "Messages that wait"
        REST = 3, "All else"
        LATECOMERS = 4, "What was under way at the step"

    at = models.DateTimeField(help_text="By the new time.")
    set_back = models.DurationField(help_text="By how much it was set back; below zero, it was set ahead.")
    total = models.DurationField(help_text="DatabaseClock.set_back after it.")
    stage = models.PositiveSmallIntegerField(choices=Stage.choices, default=Stage.HEARTBEATS)
    moved_through = models.CharField(
        max_length=40, blank=True, default="", help_text="Rows of this stage are moved up to this id."
    )
    last_heartbeat = models.BigIntegerField(
        default=0, help_text="The newest id at the step; newer heartbeats are not moved."
    )
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["id"], condition=Q(done_at=None), name="clock_step_undone")]

    def __str__(self) -> str:
        return f"{self.set_back} back at {self.at}"
