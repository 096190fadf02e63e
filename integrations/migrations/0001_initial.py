import datetime
from decimal import Decimal

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import heartbeat_project.kernel.fields
import heartbeat_project.kernel.ids

# Partitioned by day; the default partition takes what has no day of its own, so that no ping is refused.
PARTITIONED = """
CREATE SEQUENCE integrations_ping_number AS bigint;
CREATE TABLE integrations_ping (
    id bigint NOT NULL DEFAULT nextval('integrations_ping_number'),
    integration_id bigint NOT NULL,
    received_at timestamp with time zone NOT NULL,
    method varchar(4) NOT NULL,
    source_ip inet,
    user_agent text
) PARTITION BY RANGE (received_at);
ALTER SEQUENCE integrations_ping_number OWNED BY integrations_ping.id;
CREATE TABLE integrations_ping_other PARTITION OF integrations_ping DEFAULT;
CREATE INDEX ping_by_integration ON integrations_ping (integration_id, received_at DESC, id DESC);
"""
# A ping rewrites its row; with room on the page the new version stays there, and vacuum comes before bloat.
ROOM = """
ALTER TABLE integrations_heartbeat
SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("alerting", "0001_initial"),
        ("escalation", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyList",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.organization",
                    ),
                ),
                ("day", models.DateField(help_text="In the organization's time zone.")),
            ],
        ),
        migrations.CreateModel(
            name="InboundIntegration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "type",
                    models.CharField(
                        choices=[("api", "API"), ("email", "Email"), ("chat", "Chat"), ("heartbeat", "Heartbeat")],
                        default="heartbeat",
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="Integration Name")),
                (
                    "token",
                    models.CharField(
                        default=heartbeat_project.kernel.ids.new_token,
                        help_text="The secret of the API URL.",
                        max_length=64,
                        unique=True,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                (
                    "bridge",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="integrations",
                        to="alerting.bridge",
                    ),
                ),
                (
                    "escalation_policy",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="integrations",
                        to="escalation.escalationpolicy",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="integrations",
                        to="accounts.organization",
                    ),
                ),
                (
                    "recipient_groups",
                    models.ManyToManyField(
                        blank=True, related_name="integrations", to="accounts.group", verbose_name="Recipient Group(s)"
                    ),
                ),
                (
                    "recipient_users",
                    models.ManyToManyField(
                        blank=True,
                        related_name="integrations",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="Recipient User(s)",
                    ),
                ),
                (
                    "response_play",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="integrations",
                        to="escalation.responseplay",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="IngestProcess",
            fields=[
                ("process", models.UUIDField(primary_key=True, serialize=False)),
                ("stored_until", models.DateTimeField(help_text="When its newest pulse that counts was sent.")),
                ("pulsed_at", models.DateTimeField(help_text="When that pulse was committed.")),
            ],
        ),
        migrations.CreateModel(
            name="PingDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("counted_at", models.DateTimeField(help_text="When its pings were counted by the hour.", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Tick",
            fields=[
                ("task", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("started_at", models.DateTimeField(help_text="When the newest tick that was noted began.")),
                ("by_celery", models.BigIntegerField(default=0)),
                (
                    "by_itself",
                    models.BigIntegerField(
                        default=0, help_text="Ticks that a worker ran because none came over the broker."
                    ),
                ),
                ("by_itself_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ClockStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(help_text="By the new time.")),
                ("set_back", models.DurationField(help_text="By how much it was set back; below zero, it was set ahead.")),
                ("total", models.DurationField(help_text="DatabaseClock.set_back after it.")),
                (
                    "stage",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "Deadlines"),
                            (1, "Escalations"),
                            (2, "Messages that wait"),
                            (3, "All else"),
                            (4, "What was under way at the step"),
                        ],
                        default=0,
                    ),
                ),
                (
                    "moved_through",
                    models.CharField(blank=True, default="", help_text="Rows of this stage are moved up to this id.", max_length=40),
                ),
                (
                    "last_heartbeat",
                    models.BigIntegerField(default=0, help_text="The newest id at the step; newer heartbeats are not moved."),
                ),
                ("done_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(condition=models.Q(("done_at", None)), fields=["id"], name="clock_step_undone")
                ],
            },
        ),
        migrations.CreateModel(
            name="CoverageWatch",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.organization",
                    ),
                ),
                ("due_at", models.DateTimeField(help_text="When the gaps are looked for next.")),
                (
                    "gaps_since",
                    models.DateTimeField(help_text="Since when there has been a gap at every look.", null=True),
                ),
                ("mailed_at", models.DateTimeField(help_text="When the last mail was written.", null=True)),
                (
                    "gaps_ahead",
                    models.JSONField(
                        db_default=models.Value({}, models.JSONField()),
                        default=dict,
                        help_text="Maps the start of each gap in the next day to when it was first seen; null once a mail named it.",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "coverage watches",
                "indexes": [models.Index(fields=["due_at"], name="coverage_watch_due")],
            },
        ),
        migrations.CreateModel(
            name="DatabaseClock",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("latest_at", models.DateTimeField(help_text="The newest time that any process read, to the second.")),
                (
                    "set_back",
                    models.DurationField(
                        db_default=datetime.timedelta(0),
                        default=datetime.timedelta,
                        help_text="By how much it was set back, all steps together.",
                    ),
                ),
                ("wrong_machine", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("wrong_by", models.DurationField(help_text="By how much that machine's clock is ahead.", null=True)),
                ("wrong_at", models.DateTimeField(help_text="When that was last seen.", null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_clock_row")],
            },
        ),
        migrations.CreateModel(
            name="HeartbeatEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("changed", "Changed"),
                            ("enabled", "Enabled"),
                            ("disabled", "Disabled"),
                            ("rotated", "API URL rotated"),
                            ("missed", "Missed"),
                            ("recovered", "Recovered"),
                            ("maintenance", "Maintenance"),
                            ("outage", "Deadline moved by our own outage"),
                            ("quarantine", "Quarantined after an error"),
                            ("tested", "Paging tested"),
                        ],
                        max_length=12,
                    ),
                ),
                ("text", models.TextField(blank=True)),
                (
                    "actor",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "integration",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="integrations.inboundintegration",
                    ),
                ),
            ],
            options={
                "ordering": ["-at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="InboundEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "type",
                    models.CharField(
                        choices=[("api", "API"), ("email", "Email"), ("chat", "Chat"), ("heartbeat", "Heartbeat")],
                        max_length=10,
                    ),
                ),
                ("answers", models.UUIDField(help_text="The message of ours that its headers name.", null=True)),
                (
                    "turn",
                    models.BigIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Lower turns are read first; those of one organization all differ.",
                    ),
                ),
                ("received_at", models.DateTimeField()),
                (
                    "headers",
                    models.JSONField(
                        default=dict, help_text="The headers that its page shows, cut to 300 characters."
                    ),
                ),
                ("raw", models.BinaryField(help_text="As it arrived.")),
                ("size", models.IntegerField(help_text="Of `raw`, in bytes.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting to be read"),
                            ("read", "Read"),
                            ("unreadable", "Could not be read"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempts", models.SmallIntegerField(default=0, help_text="How often a worker began to read it.")),
                (
                    "claimed_until",
                    models.DateTimeField(help_text="No worker may claim it before this time.", null=True),
                ),
                (
                    "result",
                    models.JSONField(
                        default=list, help_text="What came of each of its parts: action, alert and reason."
                    ),
                ),
                ("fault", models.TextField(blank=True, help_text="Why it could not be read.")),
                (
                    "integration",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="Empty for a mail to the reply address.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="inbound_events",
                        to="integrations.inboundintegration",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="The organization whose message its headers name; empty if they name none.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="IngestState",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                (
                    "stored_until",
                    models.DateTimeField(help_text="When the newest pulse that counts was sent, by any web process."),
                ),
                ("outage_until", models.DateTimeField(help_text="The end of the newest outage.", null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_ingest_state")],
            },
        ),
        migrations.CreateModel(
            name="MaintenanceWindow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(help_text="Not included.")),
                ("all_integrations", models.BooleanField(default=False)),
                (
                    "applied_at",
                    models.DateTimeField(editable=False, help_text="When its heartbeats were suspended.", null=True),
                ),
                (
                    "integrations",
                    models.ManyToManyField(
                        blank=True, related_name="maintenance_windows", to="integrations.inboundintegration"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="maintenance_windows",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-starts_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Outage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                (
                    "refused_pings",
                    models.IntegerField(
                        db_default=0,
                        default=0,
                        help_text="Pings that were answered 503 and that a web process counted.",
                    ),
                ),
                (
                    "moved_through",
                    models.BigIntegerField(default=0, help_text="Heartbeats up to this id have been recalculated."),
                ),
                ("moved_count", models.BigIntegerField(default=0)),
                ("done_at", models.DateTimeField(null=True)),
                (
                    "mail_due",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Recipients are still to be mailed about new intervals over an hour.",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(condition=models.Q(("done_at", None)), fields=["id"], name="outage_to_apply"),
                    models.Index(condition=models.Q(("mail_due", True)), fields=["id"], name="outage_to_mail"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ended_at__gt", models.F("started_at"))), name="outage_is_forward"
                    )
                ],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    sql=PARTITIONED,
                    reverse_sql="DROP TABLE integrations_ping",
                ),
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Ping",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        (
                            "integration_id",
                            models.BigIntegerField(help_text="No foreign key: history costs no lock, and no cascade."),
                        ),
                        ("received_at", models.DateTimeField()),
                        ("method", models.CharField(max_length=4)),
                        ("source_ip", models.GenericIPAddressField(null=True)),
                        (
                            "user_agent",
                            models.TextField(help_text="Cut to 200 bytes; characters that do not print are replaced.", null=True),
                        ),
                    ],
                    options={
                        "ordering": ["-received_at", "-id"],
                        "indexes": [
                            models.Index(fields=["integration_id", "-received_at", "-id"], name="ping_by_integration")
                        ],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name="PingHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("integration_id", models.BigIntegerField()),
                ("hour", models.DateTimeField()),
                ("pings", models.IntegerField()),
            ],
            options={
                "indexes": [django.contrib.postgres.indexes.BrinIndex(fields=["hour"], name="ping_hour_age")],
                "constraints": [models.UniqueConstraint(fields=("integration_id", "hour"), name="ping_hour_once")],
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                (
                    "integration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="heartbeat",
                        serialize=False,
                        to="integrations.inboundintegration",
                    ),
                ),
                (
                    "interval_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(decimal_places=1, default=None, max_digits=6),
                ),
                (
                    "grace_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(decimal_places=1, default=0, max_digits=6),
                ),
                (
                    "start_timer",
                    models.CharField(
                        choices=[("when_enabled", "When enabled"), ("first_ping", "At the first ping")],
                        default="when_enabled",
                        max_length=12,
                    ),
                ),
                ("allow_get", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for the first ping"),
                            ("healthy", "Healthy"),
                            ("missed", "Missed"),
                            ("disabled", "Disabled"),
                        ],
                        max_length=8,
                    ),
                ),
                ("last_ping_at", models.DateTimeField(null=True)),
                (
                    "last_gap",
                    models.DurationField(
                        help_text="The newest time between two pings that was no longer than interval and grace.",
                        null=True,
                    ),
                ),
                ("ping_count", models.BigIntegerField(default=0)),
                (
                    "armed_at",
                    models.DateTimeField(
                        help_text="The deadline counts from then: last ping or activation, moved by maintenance and our own outages.",
                        null=True,
                    ),
                ),
                (
                    "deadline_at",
                    models.DateTimeField(
                        help_text="armed_at + interval + grace; empty while no timer runs.", null=True
                    ),
                ),
                (
                    "suspended_until",
                    models.DateTimeField(help_text="End of the maintenance window it is in.", null=True),
                ),
                (
                    "set_back",
                    models.DurationField(
                        db_default=datetime.timedelta(0),
                        default=datetime.timedelta,
                        help_text="DatabaseClock.set_back of the last step back by which its times were moved.",
                    ),
                ),
                (
                    "excused_until",
                    models.DateTimeField(
                        help_text="When the newest ping was expected for which one of our own outages gave it a new interval.",
                        null=True,
                    ),
                ),
                (
                    "quarantined_until",
                    models.DateTimeField(
                        help_text="When a miss that could not be recorded (see error) is tried again.", null=True
                    ),
                ),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("deadline_at"),
                        condition=models.Q(("deadline_at__isnull", False), ("state__in", ["waiting", "healthy"])),
                        name="heartbeat_due",
                    ),
                    models.Index(
                        condition=models.Q(("quarantined_until__isnull", False)),
                        fields=["quarantined_until"],
                        name="heartbeat_quarantined",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("interval_minutes__gte", Decimal("0.1")), ("interval_minutes__lte", 44640)),
                        name="interval_in_bounds",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("grace_minutes__gte", 0), ("grace_minutes__lte", 44640)),
                        name="grace_in_bounds",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("armed_at__isnull", True), ("deadline_at__isnull", True)),
                            models.Q(("armed_at__isnull", False), ("deadline_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="deadline_needs_a_start",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state__in", ["healthy", "missed"]), _negated=True),
                            ("deadline_at__isnull", False),
                            _connector="OR",
                        ),
                        name="running_timer_has_deadline",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "disabled"), _negated=True),
                            ("deadline_at__isnull", True),
                            _connector="OR",
                        ),
                        name="disabled_has_no_timer",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="inboundintegration",
            constraint=models.UniqueConstraint(
                models.F("organization"), django.db.models.functions.text.Lower("name"), name="integration_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="inboundintegration",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("escalation_policy__isnull", False), ("response_play__isnull", True)),
                    models.Q(("escalation_policy__isnull", True), ("response_play__isnull", False)),
                    _connector="OR",
                ),
                name="policy_or_play",
            ),
        ),
        migrations.AddIndex(
            model_name="heartbeatevent",
            index=models.Index(fields=["integration", "-at", "-id"], name="event_by_integration"),
        ),
        migrations.AddIndex(
            model_name="heartbeatevent",
            index=models.Index(condition=models.Q(("actor__isnull", False)), fields=["actor"], name="event_by_actor"),
        ),
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(fields=["integration", "-id"], name="inbound_by_integration"),
        ),
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(
                condition=models.Q(("organization__isnull", False)),
                fields=["organization", "-id"],
                name="inbound_by_organization",
            ),
        ),
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(
                condition=models.Q(("organization__isnull", False), ("state", "waiting")),
                fields=["attempts", "turn", "id"],
                name="inbound_next",
            ),
        ),
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["organization", "turn"],
                include=("size",),
                name="inbound_share",
            ),
        ),
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(
                condition=models.Q(("answers__isnull", False), ("state", "waiting")),
                fields=["answers"],
                name="inbound_by_message",
            ),
        ),
        migrations.AddIndex(
            model_name="inboundevent",
            index=models.Index(condition=models.Q(("state", "unreadable")), fields=["-id"], name="inbound_unreadable"),
        ),
        migrations.AddIndex(
            model_name="maintenancewindow",
            index=models.Index(condition=models.Q(("applied_at", None)), fields=["starts_at"], name="window_to_apply"),
        ),
        migrations.AddConstraint(
            model_name="maintenancewindow",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="window_is_forward"
            ),
        ),
        migrations.RunSQL(
            sql=ROOM,
            reverse_sql="ALTER TABLE integrations_heartbeat RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay)",
        ),
    ]
