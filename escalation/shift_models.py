"""Shifts, who is on them and when, and who is out of office; part of `escalation.models`."""

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

from accounts.models import Group, GroupRole, User, check_time_zone

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
    """Who of a group is on call when, by the clock on the wall of the shift's own time zone."""

    class Kind(models.TextChoices):
        """Where the people come from."""

        FIXED = "fixed", "Fixed (everybody listed is on)"
        ROTATING = "rotating", "Rotating (people take turns)"
        CALENDAR = "calendar", "Calendar (read from an iCalendar address)"

    class Every(models.TextChoices):
        """What hand-offs are counted in."""

        DAY = "day", "days"
        WEEK = "week", "weeks"
        MONTH = "month", "months"

    group = models.ForeignKey(Group, models.CASCADE, related_name="shifts")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.FIXED)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    starts_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it has always been.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Not included. Empty: it goes on.")
    rotates_every = models.CharField(max_length=5, choices=Every.choices, default=Every.WEEK)
    rotates_count = models.PositiveSmallIntegerField(
        default=1, help_text="Hand over every so many days, weeks, months."
    )
    first_handoff_on = models.DateField(
        null=True,
        blank=True,
        help_text="The first person's turn begins on this day; the weekday, or day of the month, of all hand-offs.",
    )
    handoff_time = models.TimeField(default="09:00", help_text="In the shift's time zone.")
    people_at_once = models.PositiveSmallIntegerField(default=1, help_text="How many are on together, in each role.")
    is_override = models.BooleanField(
        "override",
        default=False,
        db_default=False,
        help_text="It wins over every ordinary shift while it lasts, however long; of two overrides the shorter wins.",
    )
    turn_number = models.IntegerField(
        default=0,
        db_default=0,
        help_text="The turn, counted from the first hand-off, in which the people first in `turn_order` are on.",
    )
    calendar_url = models.CharField(max_length=1000, blank=True, help_text="Where the calendar is read from.")
    calendar_due_at = models.DateTimeField(null=True, help_text="When it is read next.")
    calendar_read_at = models.DateTimeField(null=True, help_text="When it was last read well.")
    calendar_error = models.TextField(blank=True, help_text="Why the last try failed; the last good copy stays.")
    calendar_failing_since = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the first of the failed tries in a row was; empty: the last one read it.",
    )
    calendar_reported_at = models.DateTimeField(
        null=True, editable=False, help_text="When the Managers were notified that it cannot be read; empty: not yet."
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


class ShiftWindow(models.Model):
    """The same time on some weekdays; a shift without windows runs around the clock."""

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="windows")
    days = ArrayField(
        models.CharField(max_length=9, choices=Weekday.choices), help_text="The weekdays on which the window begins."
    )
    starts = models.TimeField()
    ends = models.TimeField(help_text="Not included; not after the start means on the next day.")
    days_later = models.PositiveSmallIntegerField(
        default=0,
        help_text="On which day it ends: 0 the same, 1 the next, 3 from a Friday to the Monday.",
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
        later = f" (+{self.days_later} d)" if self.days_later else ""
        return f"{days} {self.starts:%H:%M} to {self.ends:%H:%M}{later}"


class ShiftPerson(models.Model):
    """One person of a shift, in order, in a group role; Managers come from the group's member list."""

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="people")
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.CharField(
        max_length=10,
        choices=SHIFT_ROLES,
        default=GroupRole.PRIMARY,
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="Order of the turns; lowest first.")
    turn_order = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Order of the turns from the shift's `turn_number` on; equal ones by position.",
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

    shift = models.ForeignKey(Shift, models.CASCADE, related_name="entries")
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=GroupRole.choices, default=GroupRole.PRIMARY)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="entry_ends_after_start"),
        ]

    def __str__(self) -> str:
        return f"{self.user}, {self.starts_at:%Y-%m-%d %H:%M} to {self.ends_at:%Y-%m-%d %H:%M}"


def _same(column: str) -> Func:
    """Return a range of this one number: that two of them overlap means that they are equal.

    Ranges are in every PostgreSQL, where the equality of numbers would need an extension in such a constraint. NULL
    makes the range without bounds, which overlaps every other: an entry for all groups overlaps one for any group.
    """
    boundary = RangeBoundary(inclusive_lower=True, inclusive_upper=True)
    return Func(F(column), F(column), boundary, function="int8range", output_field=BigIntegerRangeField())


class OutOfOffice(models.Model):
    """A time in which a person is not told, and who is told instead."""

    user = models.ForeignKey(User, models.CASCADE, related_name="out_of_office")
    cover = models.ForeignKey(User, models.CASCADE, related_name="covers", help_text="Who is told instead.")
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty: in all groups."
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
    """Somebody is to hear, once the editing is over, that they were put on a shift or cover for somebody.

    One row for each person and shift, or person and entry; each further edit moves it, and what it says is what stands
    when it is due.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    shift = models.ForeignKey(Shift, models.CASCADE, null=True, related_name="+")
    out_of_office = models.ForeignKey(OutOfOffice, models.CASCADE, null=True, related_name="+")
    actor = models.ForeignKey(User, models.CASCADE, related_name="+", help_text="Who made the last edit.")
    before = models.JSONField(null=True, help_text="What stood before the first edit; null: nothing about the person.")
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
    """The secret address at which the duty of one person, or of one group, can be read as a calendar."""

    user = models.OneToOneField(User, models.CASCADE, null=True, related_name="calendar_feed")
    group = models.OneToOneField(Group, models.CASCADE, null=True, related_name="calendar_feed")
    token = models.CharField(max_length=64, unique=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=True, group__isnull=False) | Q(user__isnull=False, group__isnull=True),
                name="feed_of_a_person_or_a_group",
            ),
        ]

    def __str__(self) -> str:
        return f"Calendar of {self.user or self.group}"


class DutySettings(models.Model):
    """What a person wishes about their own duty."""

    user = models.OneToOneField(User, models.CASCADE, related_name="duty_settings")
    remind_hours = models.DecimalField(
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="Hours before a duty begins; empty: no reminder.",
    )

    class Meta:
        verbose_name_plural = "duty settings"

    def __str__(self) -> str:
        return f"{self.user}: {self.remind_hours or 'no'} hours before"


class DutyReminder(models.Model):
    """Somebody was reminded of this beginning of their duty."""

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
