"""Shifts, who is on them and when, who is out of office, and what people want to know about their on-call shifts."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import (
    ArrayField,
    BigIntegerRangeField,
    DateTimeRangeField,
    RangeBoundary,
    RangeOperators,
)
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Lower

from accounts.models.groups import Group, GroupRole
from accounts.models.organizations import check_time_zone
from accounts.models.users import User
from heartbeat_project.kernel.weekly import DAYS, WeeklyWindow

SHIFT_ROLES = [choice for choice in GroupRole.choices if choice[0] != GroupRole.MANAGER]


class Weekday(models.TextChoices):
    """The days of the week, Monday first."""

    MONDAY = "monday", "Mon"
    TUESDAY = "tuesday", "Tue"
    WEDNESDAY = "wednesday", "Wed"
    THURSDAY = "thursday", "Thu"
    FRIDAY = "friday", "Fri"
    SATURDAY = "saturday", "Sat"
    SUNDAY = "sunday", "Sun"


class Shift(models.Model):
    """When which people of a group are on call, by the local time of the shift's own time zone."""

    class Kind(models.TextChoices):
        """How the people who are on call are found."""

        FIXED = "fixed", "Fixed (everybody listed is on)"
        ROTATING = "rotating", "Rotating (people take turns)"
        CALENDAR = "calendar", "Calendar (read from an iCalendar address)"

    class Every(models.TextChoices):
        """The unit of the time between two hand-offs."""

        DAY = "day", "days"
        WEEK = "week", "weeks"
        MONTH = "month", "months"

    group = models.ForeignKey(Group, models.CASCADE, related_name="shifts")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.FIXED)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    starts_at = models.DateTimeField(null=True, blank=True, help_text="Empty: the shift has always been there.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Not included. Empty: the shift has no end.")
    rotates_every = models.CharField(max_length=5, choices=Every.choices, default=Every.WEEK)
    rotates_count = models.PositiveSmallIntegerField(
        default=1, help_text="Days, weeks or months between two hand-offs."
    )
    first_handoff_on = models.DateField(
        null=True,
        blank=True,
        help_text="The day on which the first person's turn begins. All hand-offs are on its weekday, or on its "
        "day of the month.",
    )
    handoff_time = models.TimeField(default="09:00", help_text="In the shift's time zone.")
    people_at_once = models.PositiveSmallIntegerField(
        default=1, help_text="How many people are on call together, in each role."
    )
    is_override = models.BooleanField(
        "override",
        default=False,
        db_default=False,
        help_text="It replaces every ordinary shift while it lasts, however long; of two overrides the shorter one"
        " wins.",
    )
    turn_number = models.IntegerField(
        default=0,
        db_default=0,
        help_text="The number of the turn, counted from the first hand-off, in which the people who are first in "
        "`turn_order` are on call.",
    )
    calendar_url = models.CharField(
        max_length=1000, blank=True, help_text="The address from which the calendar is read."
    )
    calendar_due_at = models.DateTimeField(null=True, help_text="When the calendar is read next.")
    calendar_read_at = models.DateTimeField(null=True, help_text="When the calendar was last read without an error.")
    calendar_error = models.TextField(
        blank=True, help_text="Why the last try to read it failed; the last good copy stays in use."
    )
    calendar_failing_since = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the first of the failed tries in a row was made; empty: the last try succeeded.",
    )
    calendar_reported_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the Managers were notified that the calendar cannot be read; empty: not yet.",
    )

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("group", Lower("name"), name="shift_name_unique"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="shift_ends_after_start"),
            models.CheckConstraint(
                condition=~Q(kind="rotating") | Q(first_handoff_on__isnull=False), name="rotating_has_handoff"
            ),
            models.CheckConstraint(
                condition=Q(rotates_count__gt=0, people_at_once__gt=0), name="rotation_moves_and_fills"
            ),
            models.CheckConstraint(
                condition=Q(kind="calendar", calendar_due_at__isnull=False) & ~Q(calendar_url="")
                | ~Q(kind="calendar") & Q(calendar_url="", calendar_due_at__isnull=True),
                name="calendar_has_address",
            ),
        ]
        indexes = [
            # The tick that reads calendars: those that are due.
            models.Index(fields=["calendar_due_at"], condition=Q(kind="calendar"), name="calendar_due"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def names_nobody(self) -> bool:
        """Return whether the calendar can be read, but none of its events names a member of the group."""
        since, read_at = self.calendar_failing_since, self.calendar_read_at
        return since is not None and read_at is not None and read_at >= since

    @property
    def calendar_trouble(self) -> str:
        """Return what is wrong with the calendar, as the end of a sentence; empty if nothing is."""
        if self.calendar_failing_since is None:
            return ""
        return "names no member of the group" if self.names_nobody else "cannot be read"


class ShiftWindow(models.Model):
    """The same time on some weekdays; a shift without windows runs around the clock."""

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="windows")
    days = ArrayField(
        models.CharField(max_length=9, choices=Weekday.choices), help_text="The weekdays on which the window begins."
    )
    starts = models.TimeField()
    ends = models.TimeField(help_text="Not included; `days_later` says on which day.")
    days_later = models.PositiveSmallIntegerField(
        default=0,
        help_text="How many days after its start it ends: 0 on the same day, 1 on the next, 3 from a Friday to the"
        " Monday.",
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(days__len__gt=0, days__contained_by=Weekday.values), name="window_on_weekdays"
            ),
            models.CheckConstraint(
                condition=Q(days_later__gt=0) | Q(ends__gt=F("starts")), name="window_ends_after_start"
            ),
            models.CheckConstraint(
                condition=Q(days_later__lt=7) | Q(days_later=7, ends__lte=F("starts")), name="window_within_a_week"
            ),
        ]

    def __str__(self) -> str:
        days = ", ".join(Weekday(day).label for day in self.days)
        ends, days_later = self.weekly.written_end
        later = f" (+{days_later} d)" if days_later else ""
        return f"{days} {self.starts:%H:%M} to {ends}{later}"

    @property
    def weekly(self) -> WeeklyWindow:
        """Return the window as the pure modules read it."""
        return WeeklyWindow(frozenset(DAYS.index(day) for day in self.days), self.starts, self.ends, self.days_later)


class ShiftPerson(models.Model):
    """One person of a shift, in order, in a group role; Managers come from the group's member list."""

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="people")
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.CharField(
        max_length=10,
        choices=SHIFT_ROLES,
        default=GroupRole.PRIMARY,
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="The order of the turns, lowest first.")
    turn_order = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="The order of the turns from the shift's `turn_number` on; people with equal numbers follow "
        "`position`.",
    )

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["shift", "user", "role"], name="shift_person_once_per_role"),
            models.CheckConstraint(condition=Q(role__in=["primary", "secondary"]), name="shift_person_role"),
        ]

    def __str__(self) -> str:
        return str(self.user)


class ShiftEntry(models.Model):
    """One person on call for one time, as the shift's calendar said when it was last read."""

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="entries", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=GroupRole.choices, default=GroupRole.PRIMARY)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="entry_ends_after_start"),
        ]
        # A calendar may have thousands of entries, most of them far ahead; those of a short time are read.
        indexes = [models.Index(fields=["shift", "starts_at"], name="entry_by_time")]

    def __str__(self) -> str:
        return f"{self.user}, {self.starts_at:%Y-%m-%d %H:%M} to {self.ends_at:%Y-%m-%d %H:%M}"


def _same(column: str) -> Func:
    """Return the range of this one number: two such ranges overlap if their numbers are equal.

    An exclusion constraint on the number itself would need an extension of PostgreSQL. NULL gives the range without
    bounds, which overlaps every other: an entry for all groups overlaps one for any group.
    """
    boundary = RangeBoundary(inclusive_lower=True, inclusive_upper=True)
    return Func(F(column), F(column), boundary, function="int8range", output_field=BigIntegerRangeField())


class OutOfOffice(models.Model):
    """A time in which a person is not notified, and who is notified instead."""

    user = models.ForeignKey(User, models.CASCADE, related_name="out_of_office")
    cover = models.ForeignKey(User, models.CASCADE, related_name="covers", help_text="Who is notified instead.")
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty: for all groups."
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Not included.")

    class Meta:
        ordering = ["starts_at", "id"]
        verbose_name_plural = "out of office"
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="out_ends_after_start"),
            models.CheckConstraint(condition=~Q(cover=F("user")), name="cover_is_somebody_else"),
            ExclusionConstraint(
                name="out_of_office_once",
                index_type="gist",
                expressions=[
                    (_same("user"), RangeOperators.OVERLAPS),
                    (_same("group"), RangeOperators.OVERLAPS),
                    (
                        Func("starts_at", "ends_at", function="tstzrange", output_field=DateTimeRangeField()),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]
        indexes = [models.Index(fields=["ends_at"], name="out_of_office_by_end")]

    def __str__(self) -> str:
        return f"{self.user}, {self.starts_at:%Y-%m-%d %H:%M} to {self.ends_at:%Y-%m-%d %H:%M}"


class ShiftNotice(models.Model):
    """A notice that will be sent, once the editing is over, to a person who was put on a shift or covers for somebody.

    There is one row for each person and shift, or person and entry. Each further edit puts it off; its text is composed
    when it is due.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    shift = models.ForeignKey(Shift, models.CASCADE, null=True, related_name="+")
    out_of_office = models.ForeignKey(OutOfOffice, models.CASCADE, null=True, related_name="+")
    actor = models.ForeignKey(User, models.CASCADE, related_name="+", help_text="Who made the last edit.")
    before = models.JSONField(
        null=True, help_text="What was planned for the person before the first edit; null: nothing."
    )
    due_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "shift"], name="shift_notice_once"),
            models.UniqueConstraint(fields=["user", "out_of_office"], name="cover_notice_once"),
            models.CheckConstraint(
                condition=Q(shift__isnull=True, out_of_office__isnull=False)
                | Q(shift__isnull=False, out_of_office__isnull=True),
                name="notice_of_a_shift_or_a_cover",
            ),
        ]
        indexes = [models.Index(fields=["due_at"], name="shift_notice_due")]

    def __str__(self) -> str:
        return f"{self.user}, {self.due_at:%Y-%m-%d %H:%M}"


class CalendarFeed(models.Model):
    """The secret address of one person, at which their own on-call periods or those of a group are a calendar."""

    # The constraint feed_once serves as the index. Every row has a person: a group has no address for everybody.
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="calendar_feeds", db_index=False)
    group = models.ForeignKey(
        Group,
        models.CASCADE,
        null=True,
        related_name="calendar_feeds",
        help_text="Empty: the calendar shows the person's own on-call periods.",
    )
    token = models.CharField(max_length=64, unique=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "group"], nulls_distinct=False, name="feed_once"),
        ]

    def __str__(self) -> str:
        return f"Calendar of {self.group or self.user}, for {self.user}"


class OnCallReminderSettings(models.Model):
    """When a person wants to be reminded of their own on-call shifts."""

    user = models.OneToOneField(User, models.CASCADE, related_name="on_call_reminder_settings")
    remind_hours = models.DecimalField(
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="How many hours before an on-call shift the reminder is sent; empty: no reminder.",
    )

    class Meta:
        verbose_name_plural = "on-call reminder settings"

    def __str__(self) -> str:
        return f"{self.user}: {self.remind_hours or 'no'} hours before"


class OnCallReminder(models.Model):
    """A reminder that was sent to a person: the beginning of one of their on-call shifts."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    group = models.ForeignKey(Group, models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=GroupRole.choices)
    starts_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "group", "role", "starts_at"], name="reminded_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user}, {self.starts_at:%Y-%m-%d %H:%M}"
