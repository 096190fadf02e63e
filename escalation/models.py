"""Policies and plays, the runs that follow them, and notifications: the outbox of what people are told."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models import ContactMethod, Group, GroupRole, Organization, User, shown_address
from alerting.models import Alert, Priority
from escalation import offers, shift_models  # noqa: F401 - Django finds an app's models through this module
from heartbeat_project.kernel.mail import STORED


class MinutesColumn(models.DecimalField):  # type: ignore[type-arg] # it takes none at run time
    """A duration in minutes with one decimal place (0.1 is six seconds)."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_digits": 6, "decimal_places": 1, "default": 0, **options})  # type: ignore[arg-type]


class EscalationPolicy(models.Model):
    """A timed walk through the member roles of the recipient groups."""

    class NotifyUsing(models.TextChoices):
        """Whose settings say over what a person is told."""

        USER = "user", "User (each person's own contact methods)"
        CENTRALIZED = "centralized", "Centralized (the policy's contact methods)"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="escalation_policies")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    priority = models.CharField(max_length=10, choices=Priority.choices, default=Priority.HIGH)
    enabled = models.BooleanField(default=True)
    quick_launch = models.BooleanField(default=False, help_text="Offered for alerts made by hand.")
    notify_using = models.CharField(max_length=12, choices=NotifyUsing.choices, default=NotifyUsing.USER)
    next_group_wait_minutes = MinutesColumn(help_text="Wait before each further recipient group; 0: all at once.")
    acknowledge_stops = models.BooleanField(default=False, help_text="An acknowledgement stops the escalation.")
    recovery_notice = models.BooleanField(default=True, help_text="Tell those who were told when it recovers.")
    repeats = models.PositiveSmallIntegerField(default=0, help_text="How often the whole walk is repeated.")
    reopen_after_minutes = MinutesColumn(
        db_default=0,
        help_text="After so long without an action on a taken alert its owner is reminded; 0: never. "
        "60 for a new Critical one where nothing is said.",
    )
    withheld = ArrayField(
        models.CharField(max_length=30),
        default=list,
        db_default=[],
        blank=True,
        help_text="What messages do not offer, as channel:action; see escalation.offers.",
    )
    version = models.PositiveIntegerField(default=1, help_text="Counts the edits; a run records which it follows.")

    class Meta:
        ordering = ["name", "id"]
        verbose_name_plural = "escalation policies"
        constraints = [models.UniqueConstraint("organization", Lower("name"), name="policy_name_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def offers(self) -> dict[str, list[str]]:
        """What a message over each channel offers."""
        return offers.matrix(self.withheld)


class PolicyRole(models.Model):
    """How one group role is told: one row for each role that the policy uses."""

    policy = models.ForeignKey(EscalationPolicy, models.CASCADE, related_name="roles")
    role = models.CharField(max_length=10, choices=GroupRole.choices)
    wait_minutes = MinutesColumn(help_text="Wait before this role, after the one before.")
    between_members_minutes = MinutesColumn(help_text="0: all members at once; above 0: in turn.")
    retries = models.PositiveSmallIntegerField(default=0, help_text="N retries make N + 1 notifications.")
    retry_interval_minutes = MinutesColumn(default=5)
    contact_labels = ArrayField(
        models.CharField(max_length=40),
        default=list,
        blank=True,
        help_text="Centralized only: labels such as Email-Official; empty means every method.",
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "role"], name="policy_role_once"),
            models.CheckConstraint(condition=Q(retries=0) | Q(retry_interval_minutes__gt=0), name="retries_need_time"),
        ]

    def __str__(self) -> str:
        return self.get_role_display()


class ResponsePlay(models.Model):
    """Timed tiers of named users and groups."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="response_plays")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    priority = models.CharField(max_length=10, choices=Priority.choices, default=Priority.HIGH)
    enabled = models.BooleanField(default=True)
    recovery_notice = models.BooleanField(default=True, help_text="Tell those who were told when it recovers.")
    reopen_after_minutes = MinutesColumn(
        db_default=0,
        help_text="After so long without an action on a taken alert its owner is reminded; 0: never. "
        "60 for a new Critical one where nothing is said.",
    )
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint("organization", Lower("name"), name="play_name_unique")]

    def __str__(self) -> str:
        return self.name


class PlayTier(models.Model):
    """Who is told so many minutes after the alert opened."""

    play = models.ForeignKey(ResponsePlay, models.CASCADE, related_name="tiers")
    offset_minutes = MinutesColumn(help_text="Minutes after the alert opened.")
    users = models.ManyToManyField(User, blank=True, related_name="+")
    groups = models.ManyToManyField(Group, blank=True, related_name="+")

    class Meta:
        ordering = ["offset_minutes", "id"]
        constraints = [models.UniqueConstraint(fields=["play", "offset_minutes"], name="tier_offset_once")]

    def __str__(self) -> str:
        return f"{self.play}, after {self.offset_minutes} min"


class EscalationRun(models.Model):
    """The escalation of one alert: what it follows, where it is, when it goes on."""

    class Review(models.TextChoices):
        """What is done at `review_at` with an alert that was taken; see escalation.reviews."""

        REMIND = "remind", "Remind whoever has it"
        REOPEN = "reopen", "Open it again: no answer to the reminder"
        HANDED = "handed", "Open it again: whom it was assigned to took no action"
        HOLD_ENDS = "hold_ends", "Open it again: the hold ends"

    # No constraints, as for alerting.TimelineEntry.alert; what is followed is copied, and may be deleted at any time.
    alert = models.OneToOneField(Alert, models.CASCADE, related_name="run", db_constraint=False)
    policy = models.ForeignKey(
        EscalationPolicy, models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False
    )
    play = models.ForeignKey(
        ResponsePlay, models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False
    )
    name = models.CharField(max_length=200, help_text="Of the policy or play, as it was.")
    version = models.PositiveIntegerField(help_text="Of the policy or play.")
    plan = models.JSONField(help_text="escalation.walk.Plan as it was when the alert opened.")
    position = models.JSONField(help_text="escalation.walk.Position: what was done and what comes.")
    acknowledge_stops = models.BooleanField(default=False)
    recovery_notice = models.BooleanField(default=True)
    withheld = ArrayField(models.CharField(max_length=30), default=list, db_default=[], help_text="Of the policy.")
    reopen_after_minutes = MinutesColumn(db_default=0, help_text="Of the policy or play.")
    step = models.PositiveIntegerField(default=0, help_text="Counts the moments at which somebody was to be told.")
    next_step_at = models.DateTimeField(null=True, help_text="Empty: nothing more comes.")
    resting = models.BooleanField(default=False, help_text="Was due while its alert was not open; goes on when it is.")
    begun_at_step = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="`step` when the walk last began anew, or its alert was opened again: whoever was notified in it or "
        "before does not count as reached.",
    )
    last_resort_at = models.DateTimeField(null=True, help_text="When the Owners and App Admins were told instead.")
    error = models.TextField(blank=True, help_text="Why the last try to go on failed; it is tried again.")
    acted_at = models.DateTimeField(null=True, help_text="When a person last did something to the alert.")
    review = models.CharField(max_length=10, choices=Review.choices, blank=True, default="", db_default="")
    review_at = models.DateTimeField(null=True, help_text="Empty: the alert is not taken, or nobody is to be reminded.")
    reopened_at = models.DateTimeField(null=True, help_text="When it was last opened again because nobody answered.")

    class Meta:
        indexes = [
            # The engine's tick: what is due, whatever else exists; and what may go on again.
            models.Index(
                fields=["next_step_at"],
                condition=Q(next_step_at__isnull=False, resting=False),
                name="run_due",
            ),
            models.Index(fields=["alert"], condition=Q(resting=True), name="run_resting"),
            models.Index(fields=["review_at"], condition=Q(review_at__isnull=False), name="run_review"),
            models.Index(fields=["policy"], condition=Q(policy__isnull=False), name="run_by_policy"),
            models.Index(fields=["play"], condition=Q(play__isnull=False), name="run_by_play"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Notification(models.Model):
    """One message to one person, or to what a group shares: a row to be sent, and what became of it."""

    class Kind(models.TextChoices):
        """Why they are told."""

        PAGE = "page", "Alert"
        LAST_RESORT = "last_resort", "Last resort"
        RECOVERY = "recovery", "Recovery"
        NOTICE = "notice", "Notice"
        ASSIGNMENT = "assignment", "Assigned to you"
        REMINDER = "reminder", "Reminder of an alert that was taken"

    class Urgency(models.IntegerChoices):
        """What goes first where more is due than can be sent at once."""

        FIRST = 0, "Nobody has been told of the alert yet"
        FURTHER = 1, "A further page"
        NEWS = 2, "A recovery or a notice"

    class Status(models.TextChoices):
        """Where the message stands."""

        PENDING = "pending", "Waiting to be sent"
        SENDING = "sending", "Being sent"
        ACCEPTED = "accepted", "Accepted by the provider"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        SUPERSEDED = "superseded", "Not needed any more"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="Also the idempotency key.")
    # No constraints, as for alerting.TimelineEntry.alert: the alert, its run and its organization are held meanwhile;
    # the user is there because the contact method is.
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    alert = models.ForeignKey(
        Alert, models.CASCADE, null=True, related_name="notifications", db_index=False, db_constraint=False
    )
    run = models.ForeignKey(
        EscalationRun, models.CASCADE, null=True, related_name="+", db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.PAGE)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="notifications", db_constraint=False)
    group = models.ForeignKey(
        Group,
        models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
        help_text="Whose shared contact it went to; nobody in person.",
    )
    contact_method = models.ForeignKey(ContactMethod, models.SET_NULL, null=True, related_name="+")
    channel = models.CharField(max_length=10, help_text="As ContactMethod.kind.")
    label = models.CharField(max_length=40)
    address = models.CharField(max_length=2_000, help_text="As it was when the message was written.")
    step = models.PositiveIntegerField(default=0, help_text="EscalationRun.step that made it.")
    round = models.PositiveSmallIntegerField(default=0, help_text="0: first; 1 and above: retries of the step.")
    repeat = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="0: first; 1 and above: repeats that the contact method's owner wants."
    )
    urgency = models.PositiveSmallIntegerField(
        choices=Urgency.choices,
        default=Urgency.FURTHER,
        db_default=Urgency.FURTHER,
        help_text="Of its first moment; a page that takes the place of one that failed gets that one's.",
    )
    asked_for = models.BooleanField(
        default=False, db_default=False, help_text="A person asked for it: sent also while somebody has the alert."
    )
    in_time = models.BooleanField(
        default=True,
        db_default=True,
        help_text="It is used before what comes next in the walk; otherwise it reaches nobody before it arrives.",
    )
    subject = models.CharField(max_length=300, blank=True, help_text="Of a notice that has no alert.")
    text = models.TextField(blank=True, help_text="Of a notice that has no alert; why somebody gets a page.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    envelope = models.UUIDField(
        null=True,
        blank=True,
        help_text="The message that carries it: its own id where it travels alone, a bundle's with others. Stays the "
        "same when the message is sent again; empty until the first try.",
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True, help_text="When it is to be sent, or its lease ends.")
    accepted_at = models.DateTimeField(null=True, blank=True)
    about_failing = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A notice that contact methods fail. When its own address is refused, that marks nothing.",
    )
    provider_id = models.CharField(max_length=200, blank=True)
    # Also that a mail was only stored, where no mail server is set up.
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "kind", "step", "contact_method", "round", "repeat"],
                name="notification_once",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "sending"], next_attempt_at__isnull=False)
                | Q(status__in=["accepted", "delivered", "failed", "superseded"], next_attempt_at__isnull=True),
                name="notification_due_while_unsent",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
                name="notification_to_one",
            ),
        ]
        indexes = [
            # The delivery tick, for each channel the most urgent first: what is due and what lost its worker.
            models.Index(
                fields=["channel", "urgency", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="notification_due_by_urgency",
            ),
            # What waits for a letterbox, and what travels in one envelope.
            models.Index(
                fields=["contact_method", "kind", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False, envelope__isnull=True),
                name="notification_for_letterbox",
            ),
            models.Index(fields=["envelope"], condition=Q(envelope__isnull=False), name="notification_by_envelope"),
            # What goes with a group; most notifications are to people, and not in it.
            models.Index(fields=["group"], condition=Q(group__isnull=False), name="notification_by_group"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} to {self.address}"

    @property
    def was_stored(self) -> bool:
        """Answer whether it was only stored, because no mail server was set up then."""
        return self.status == self.Status.ACCEPTED and self.last_error == STORED

    @property
    def recipient(self) -> User | Group:
        """Return whom it is to; the database holds that there is one."""
        recipient = self.user or self.group
        assert recipient is not None  # noqa: S101 - for the type alone
        return recipient

    @property
    def addressee(self) -> str:
        """Return whom it is to, and over what, as the timeline says it."""
        if self.group is not None:
            return f"{self.label} {shown_address(self.channel, self.address)} of {self.group}"
        return f"{self.user} ({self.label})"


class Letterbox(models.Model):
    """When somebody is told again over one contact method: what comes while it is shut goes out together afterwards.

    One for each contact method and kind of notification. Its row is also the lock: who holds it decides for all that
    waits here.
    """

    contact_method = models.ForeignKey(ContactMethod, models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Notification.Kind.choices)
    shut_until = models.DateTimeField(null=True, blank=True, help_text="Empty: nothing went out yet.")

    class Meta:
        verbose_name_plural = "letterboxes"
        constraints = [models.UniqueConstraint(fields=["contact_method", "kind"], name="letterbox_once")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} over {self.contact_method}"


class Response(models.Model):
    """What a person did to an alert from a message: each action once for each message, whichever door it came through.

    The unique constraint decides between two that come at once. What could not be done leaves no row.
    """

    class Via(models.TextChoices):
        """The door it came through."""

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
        help_text="What may be used once: the message that carried a link or button, or what the provider calls a "
        "reply or call; for a note also what it says.",
    )
    said = models.TextField(help_text="What the person was answered.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "id"]
        constraints = [models.UniqueConstraint(fields=["alert", "action", "reference"], name="response_once")]

    def __str__(self) -> str:
        return self.said


class KeptMessage(models.Model):
    """A message that was kept instead of sent, because no EMAIL_URL is set; the admin's outbox shows it."""

    at = models.DateTimeField()
    sender = models.CharField(max_length=320)
    recipients = models.TextField()
    subject = models.CharField(max_length=500)
    text = models.TextField()
    html = models.TextField(blank=True)
    message_id = models.CharField(max_length=200, blank=True)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.subject


class Circuit(models.Model):
    """How a provider has done lately; while it is open, nobody waits for that provider."""

    provider = models.CharField(max_length=40, primary_key=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row, each soon after the one before.")
    failed_at = models.DateTimeField(null=True, help_text="The last of them.")
    open_until = models.DateTimeField(null=True, help_text="Then one message may try whether it is back.")

    def __str__(self) -> str:
        return self.provider


class Allowance(models.Model):
    """How much of a rate is used up, as one moment: it moves on with each use, and time catches up with it."""

    key = models.CharField(max_length=100, primary_key=True)
    used_until = models.DateTimeField(help_text="The theoretical arrival time of the generic cell rate algorithm.")

    def __str__(self) -> str:
        return self.key
