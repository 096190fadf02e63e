import datetime
import uuid

import django.contrib.postgres.constraints
import django.contrib.postgres.fields
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import accounts.models.organizations
import heartbeat_project.kernel.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("alerting", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RateLimitState",
            fields=[
                ("key", models.CharField(max_length=100, primary_key=True, serialize=False)),
                (
                    "used_until",
                    models.DateTimeField(help_text="The theoretical arrival time of the generic cell rate algorithm."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CircuitBreaker",
            fields=[
                ("provider", models.CharField(max_length=40, primary_key=True, serialize=False)),
                (
                    "channel",
                    models.CharField(
                        blank=True, db_default="", default="", help_text="The channel for which the provider takes messages.", max_length=10
                    ),
                ),
                (
                    "address",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The only address for which the provider takes messages.",
                        max_length=2000,
                    ),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, help_text="Failures in a row, each soon after the one before."),
                ),
                ("failed_at", models.DateTimeField(help_text="When the last failure was.", null=True)),
                (
                    "open_until",
                    models.DateTimeField(help_text="After this time one message may try whether the provider works again.", null=True),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Progress",
            fields=[
                (
                    "work",
                    models.CharField(
                        choices=[
                            ("judged", "Deadlines up to this moment were judged"),
                            ("engine", "An engine worker began its round"),
                            ("delivery", "A delivery worker began its round"),
                            ("sent", "A message left"),
                            ("given_up", "A page was given up"),
                        ],
                        max_length=12,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "count",
                    models.BigIntegerField(
                        db_default=0, default=0, help_text="How often it was ever done; only for work that is counted."
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "progress",
            },
        ),
        migrations.CreateModel(
            name="OnCallReminderSettings",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "remind_hours",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="How many hours before an on-call shift the reminder is sent; empty: no reminder.",
                        max_digits=4,
                        null=True,
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="on_call_reminder_settings",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "on-call reminder settings",
            },
        ),
        migrations.CreateModel(
            name="EscalationPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True)),
                (
                    "priority",
                    models.CharField(
                        choices=[
                            ("critical", "Critical"),
                            ("high", "High"),
                            ("medium", "Medium"),
                            ("low", "Low"),
                            ("none", "None"),
                        ],
                        default="high",
                        max_length=10,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("quick_launch", models.BooleanField(default=False, help_text="People may choose it for alerts that they send by hand.")),
                (
                    "notify_using",
                    models.CharField(
                        choices=[
                            ("user", "User (each person's own contact methods)"),
                            ("centralized", "Centralized (the policy's contact methods)"),
                        ],
                        default="user",
                        max_length=12,
                    ),
                ),
                (
                    "next_group_wait_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        decimal_places=1,
                        default=0,
                        help_text="Wait before each further recipient group; 0: all groups at once.",
                        max_digits=6,
                    ),
                ),
                (
                    "acknowledge_stops",
                    models.BooleanField(default=False, help_text="An acknowledgement stops the escalation."),
                ),
                (
                    "recovery_notice",
                    models.BooleanField(default=True, help_text="When the heartbeat recovers, notify everybody who was notified of its alert."),
                ),
                (
                    "repeats",
                    models.PositiveSmallIntegerField(default=0, help_text="How often the whole escalation is repeated."),
                ),
                (
                    "reopen_after_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        db_default=0,
                        decimal_places=1,
                        default=0,
                        help_text="A taken alert's owner is reminded after this time without an action; 0: never. A new Critical rule reminds after 60 minutes unless it says otherwise.",
                        max_digits=6,
                    ),
                ),
                (
                    "low_waits_until",
                    models.TimeField(
                        blank=True,
                        help_text="Alerts of priority Low and None wake nobody: messages due between 22:00 and this time of day, by their reader's clock, wait until then. Empty: nothing waits.",
                        null=True,
                    ),
                ),
                (
                    "disabled_actions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=30),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="Actions that messages over a channel do not allow, each as channel:action.",
                        size=None,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=1, help_text="Counts the edits; a run records the version that it follows."
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="escalation_policies",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "escalation policies",
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="EscalationRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(help_text="The name that the policy or play had.", max_length=200)),
                ("version", models.PositiveIntegerField(help_text="The version of the policy or play.")),
                ("plan", models.JSONField(help_text="escalation.engine.plan.Plan as it was when the alert opened.")),
                (
                    "position",
                    models.JSONField(help_text="escalation.engine.walk.Position: what was done and what comes next."),
                ),
                ("acknowledge_stops", models.BooleanField(default=False)),
                ("recovery_notice", models.BooleanField(default=True)),
                (
                    "disabled_actions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=30),
                        db_default=[],
                        default=list,
                        help_text="As in the policy.",
                        size=None,
                    ),
                ),
                (
                    "reopen_after_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        db_default=0, decimal_places=1, default=0, help_text="As in the policy or play.", max_digits=6
                    ),
                ),
                (
                    "step",
                    models.PositiveIntegerField(
                        default=0, help_text="Counts the moments at which somebody was notified."
                    ),
                ),
                ("next_step_at", models.DateTimeField(help_text="Empty: no further step follows.", null=True)),
                (
                    "parked",
                    models.BooleanField(
                        default=False, help_text="It was due while its alert was not open; it goes on when the alert is open again."
                    ),
                ),
                (
                    "begun_at_step",
                    models.PositiveIntegerField(
                        db_default=0,
                        default=0,
                        help_text="The `step` at which the walk last began anew, or its alert was opened again: people notified in it or before do not count as reached.",
                    ),
                ),
                (
                    "last_resort_at",
                    models.DateTimeField(help_text="When the Owners and App Admins were notified instead.", null=True),
                ),
                (
                    "error",
                    models.TextField(blank=True, help_text="Why the last try to go on failed; the engine tries again."),
                ),
                (
                    "acted_at",
                    models.DateTimeField(help_text="When a person last did something with the alert.", null=True),
                ),
                (
                    "review",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("remind", "Remind whoever has it"),
                            ("reopen", "Open it again: no answer to the reminder"),
                            ("handed", "Open it again: whom it was assigned to took no action"),
                            ("hold_ends", "Open it again: the hold ends"),
                        ],
                        db_default="",
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "review_at",
                    models.DateTimeField(
                        help_text="Empty: nobody has the alert, or nobody is to be reminded.", null=True
                    ),
                ),
                (
                    "reopened_at",
                    models.DateTimeField(help_text="When the alert was last opened again because nobody answered.", null=True),
                ),
                (
                    "alert",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="run",
                        to="alerting.alert",
                    ),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="escalation.escalationpolicy",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="StoredMail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("sender", models.CharField(max_length=320)),
                ("recipients", models.TextField()),
                ("subject", models.CharField(max_length=500)),
                ("text", models.TextField()),
                ("html", models.TextField(blank=True)),
                ("message_id", models.CharField(blank=True, max_length=200)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="BundleWindow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("page", "Alert"),
                            ("last_resort", "Last resort"),
                            ("recovery", "Recovery"),
                            ("notice", "Notice"),
                            ("assignment", "Assigned to you"),
                            ("reminder", "Reminder of an alert that was taken"),
                        ],
                        max_length=12,
                    ),
                ),
                ("closed_until", models.DateTimeField(blank=True, help_text="Empty: nothing was sent yet.", null=True)),
                (
                    "contact_method",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.contactmethod"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "bundle windows",
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, help_text="Also the idempotency key.", primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("page", "Alert"),
                            ("last_resort", "Last resort"),
                            ("recovery", "Recovery"),
                            ("notice", "Notice"),
                            ("assignment", "Assigned to you"),
                            ("reminder", "Reminder of an alert that was taken"),
                        ],
                        default="page",
                        max_length=12,
                    ),
                ),
                ("channel", models.CharField(help_text="As ContactMethod.kind.", max_length=10)),
                ("label", models.CharField(max_length=40)),
                ("address", models.CharField(help_text="As it was when the message was written.", max_length=2000)),
                ("step", models.PositiveIntegerField(default=0, help_text="The EscalationRun.step that wrote it.")),
                (
                    "retry",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="0: the first page; 1 and above: the retries of the step."
                    ),
                ),
                (
                    "repeat",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="0: the first message; 1 and above: the repeats that the contact method's owner wants.",
                    ),
                ),
                (
                    "urgency",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "Nobody has been notified of the alert yet"),
                            (1, "A further page"),
                            (2, "A recovery or a notice"),
                        ],
                        db_default=1,
                        default=1,
                        help_text="The urgency when it was first due. A page that replaces a failed one has the urgency of that. RETRIED is added once a try failed, so that all first tries go first.",
                    ),
                ),
                (
                    "priority_rank",
                    models.PositiveSmallIntegerField(
                        db_default=2,
                        default=2,
                        help_text="The priority of its alert: 0 is Critical, 4 is None; a last resort is Critical.",
                    ),
                ),
                (
                    "asked_for",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="A person asked for it: it is sent even while somebody has the alert.",
                    ),
                ),
                (
                    "in_time",
                    models.BooleanField(
                        db_default=True,
                        default=True,
                        help_text="It is used before the walk goes on; otherwise it reaches nobody until it arrives.",
                    ),
                ),
                ("subject", models.CharField(blank=True, help_text="The subject of a notice that has no alert.", max_length=300)),
                (
                    "text",
                    models.TextField(blank=True, help_text="The text of a notice that has no alert, or why somebody gets a page."),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting to be sent"),
                            ("sending", "Being sent"),
                            ("accepted", "Accepted by the provider"),
                            ("delivered", "Delivered"),
                            ("failed", "Failed"),
                            ("superseded", "Not needed any more"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                (
                    "message_id",
                    models.UUIDField(
                        blank=True,
                        help_text="The message that carries it: its own id if it travels alone, that of the bundle otherwise. It stays the same when the message is sent again; empty until the first try.",
                        null=True,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                (
                    "next_attempt_at",
                    models.DateTimeField(help_text="When it is due to be sent, or when its lease ends.", null=True),
                ),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "possibly_sent_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When a try began whose result is not known yet, or never will be. Empty if the message surely was not sent; accepted_at says when a provider accepted it.",
                        null=True,
                    ),
                ),
                (
                    "limited_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="When a rate limit first held it back; it is sent with the other messages that wait for that limit.",
                        null=True,
                    ),
                ),
                (
                    "failing_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since when its tries have failed in a row; after a minute it counts only once it is accepted.",
                        null=True,
                    ),
                ),
                (
                    "expedited_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it was last tried before its pause was over, because its channel worked again.",
                        null=True,
                    ),
                ),
                (
                    "unknown_outcomes",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Tries after which nobody knows whether the message was accepted. After the second it is not sent again.",
                    ),
                ),
                (
                    "about_failing",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="It is a notice about failing contact methods. If its own address is refused, no contact method is marked.",
                    ),
                ),
                ("provider_id", models.CharField(blank=True, max_length=200)),
                (
                    "call_state",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("answered", "A person answered"),
                            ("no_key", "A person answered and pressed no key"),
                            ("machine", "An answering machine answered"),
                            ("keys", "A person answered and pressed a key"),
                        ],
                        db_default="",
                        default="",
                        help_text="Of a call: who answered. Empty: nobody answered, or the provider does not say.",
                        max_length=10,
                    ),
                ),
                ("last_error", models.TextField(blank=True)),
                (
                    "alert",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="alerting.alert",
                    ),
                ),
                (
                    "contact_method",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="accounts.contactmethod",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        help_text="The group whose shared contact is notified; empty: a person is notified.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.group",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="escalation.escalationrun",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["created_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="OutOfOffice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(help_text="Not included.")),
                (
                    "cover",
                    models.ForeignKey(
                        help_text="Who is notified instead.",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="covers",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: for all groups.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="out_of_office",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "out of office",
                "ordering": ["starts_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="PolicyRole",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("primary", "Primary"), ("secondary", "Secondary"), ("manager", "Manager")],
                        max_length=10,
                    ),
                ),
                (
                    "wait_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        decimal_places=1,
                        default=0,
                        help_text="Wait after the role before, until this role is notified.",
                        max_digits=6,
                    ),
                ),
                (
                    "between_members_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        decimal_places=1, default=0, help_text="0: all members are notified at once; above 0: one after another.", max_digits=6
                    ),
                ),
                (
                    "retries",
                    models.PositiveSmallIntegerField(default=0, help_text="N retries make N + 1 notifications."),
                ),
                (
                    "retry_interval_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(decimal_places=1, default=5, max_digits=6),
                ),
                (
                    "contact_labels",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        blank=True,
                        default=list,
                        help_text="Only if centralized: labels such as Email-Official; empty means every method.",
                        size=None,
                    ),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="roles",
                        to="escalation.escalationpolicy",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Response",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("action", models.CharField(help_text="As alerting.states.Action.", max_length=24)),
                (
                    "via",
                    models.CharField(
                        choices=[
                            ("page", "Link"),
                            ("sms", "SMS"),
                            ("voice", "Call"),
                            ("chat", "Chat"),
                            ("email", "E-mail"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "reference",
                    models.CharField(
                        help_text="What may be used once: the id of the message that carried a link or button, or the provider's id of a reply or call; for a note its text is part of it.",
                        max_length=100,
                    ),
                ),
                ("answer_text", models.TextField(help_text="The answer that the person got.")),
                ("at", models.DateTimeField()),
                (
                    "alert",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="responses",
                        to="alerting.alert",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["at", "id"],
            },
        ),
        migrations.CreateModel(
            name="ResponsePlay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True)),
                (
                    "priority",
                    models.CharField(
                        choices=[
                            ("critical", "Critical"),
                            ("high", "High"),
                            ("medium", "Medium"),
                            ("low", "Low"),
                            ("none", "None"),
                        ],
                        default="high",
                        max_length=10,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "recovery_notice",
                    models.BooleanField(default=True, help_text="When the heartbeat recovers, notify everybody who was notified of its alert."),
                ),
                (
                    "reopen_after_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        db_default=0,
                        decimal_places=1,
                        default=0,
                        help_text="A taken alert's owner is reminded after this time without an action; 0: never. A new Critical rule reminds after 60 minutes unless it says otherwise.",
                        max_digits=6,
                    ),
                ),
                (
                    "low_waits_until",
                    models.TimeField(
                        blank=True,
                        help_text="Alerts of priority Low and None wake nobody: messages due between 22:00 and this time of day, by their reader's clock, wait until then. Empty: nothing waits.",
                        null=True,
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="response_plays",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="PlayTier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "offset_minutes",
                    heartbeat_project.kernel.fields.MinutesColumn(
                        decimal_places=1, default=0, help_text="Minutes from the opening of the alert.", max_digits=6
                    ),
                ),
                ("groups", models.ManyToManyField(blank=True, related_name="+", to="accounts.group")),
                ("users", models.ManyToManyField(blank=True, related_name="+", to=settings.AUTH_USER_MODEL)),
                (
                    "play",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tiers", to="escalation.responseplay"
                    ),
                ),
            ],
            options={
                "ordering": ["offset_minutes", "id"],
            },
        ),
        migrations.AddField(
            model_name="escalationrun",
            name="play",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="escalation.responseplay",
            ),
        ),
        migrations.CreateModel(
            name="Shift",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("fixed", "Fixed (everybody listed is on)"),
                            ("rotating", "Rotating (people take turns)"),
                            ("calendar", "Calendar (read from an iCalendar address)"),
                        ],
                        default="fixed",
                        max_length=10,
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC", max_length=64, validators=[accounts.models.organizations.check_time_zone]
                    ),
                ),
                ("starts_at", models.DateTimeField(blank=True, help_text="Empty: the shift has always been there.", null=True)),
                ("ends_at", models.DateTimeField(blank=True, help_text="Not included. Empty: the shift has no end.", null=True)),
                (
                    "rotates_every",
                    models.CharField(
                        choices=[("day", "days"), ("week", "weeks"), ("month", "months")], default="week", max_length=5
                    ),
                ),
                (
                    "rotates_count",
                    models.PositiveSmallIntegerField(
                        default=1, help_text="Days, weeks or months between two hand-offs."
                    ),
                ),
                (
                    "first_handoff_on",
                    models.DateField(
                        blank=True,
                        help_text="The day on which the first person's turn begins. All hand-offs are on its weekday, or on its day of the month.",
                        null=True,
                    ),
                ),
                ("handoff_time", models.TimeField(default="09:00", help_text="In the shift's time zone.")),
                (
                    "people_at_once",
                    models.PositiveSmallIntegerField(default=1, help_text="How many people are on call together, in each role."),
                ),
                (
                    "is_override",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="It replaces every ordinary shift while it lasts, however long; of two overrides the shorter one wins.",
                        verbose_name="override",
                    ),
                ),
                (
                    "turn_number",
                    models.IntegerField(
                        db_default=0,
                        default=0,
                        help_text="The number of the turn, counted from the first hand-off, in which the people who are first in `turn_order` are on call.",
                    ),
                ),
                (
                    "calendar_url",
                    models.CharField(blank=True, help_text="The address from which the calendar is read.", max_length=1000),
                ),
                ("calendar_due_at", models.DateTimeField(help_text="When the calendar is read next.", null=True)),
                ("calendar_read_at", models.DateTimeField(help_text="When the calendar was last read without an error.", null=True)),
                (
                    "calendar_error",
                    models.TextField(blank=True, help_text="Why the last try to read it failed; the last good copy stays in use."),
                ),
                (
                    "calendar_failing_since",
                    models.DateTimeField(
                        editable=False,
                        help_text="When the first of the failed tries in a row was made; empty: the last try succeeded.",
                        null=True,
                    ),
                ),
                (
                    "calendar_reported_at",
                    models.DateTimeField(
                        editable=False,
                        help_text="When the Managers were notified that the calendar cannot be read; empty: not yet.",
                        null=True,
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shifts", to="accounts.group"
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="ShiftEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("primary", "Primary"), ("secondary", "Secondary"), ("manager", "Manager")],
                        default="primary",
                        max_length=10,
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "shift",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="escalation.shift",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["starts_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="ShiftNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "before",
                    models.JSONField(
                        help_text="What was planned for the person before the first edit; null: nothing.", null=True
                    ),
                ),
                ("due_at", models.DateTimeField()),
                (
                    "actor",
                    models.ForeignKey(
                        help_text="Who made the last edit.",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "out_of_office",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="escalation.outofoffice",
                    ),
                ),
                (
                    "shift",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="escalation.shift"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ShiftPerson",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("primary", "Primary"), ("secondary", "Secondary")], default="primary", max_length=10
                    ),
                ),
                (
                    "position",
                    models.PositiveSmallIntegerField(default=0, help_text="The order of the turns, lowest first."),
                ),
                (
                    "turn_order",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="The order of the turns from the shift's `turn_number` on; people with equal numbers follow `position`.",
                    ),
                ),
                (
                    "shift",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="people", to="escalation.shift"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="ShiftWindow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "days",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("monday", "Mon"),
                                ("tuesday", "Tue"),
                                ("wednesday", "Wed"),
                                ("thursday", "Thu"),
                                ("friday", "Fri"),
                                ("saturday", "Sat"),
                                ("sunday", "Sun"),
                            ],
                            max_length=9,
                        ),
                        help_text="The weekdays on which the window begins.",
                        size=None,
                    ),
                ),
                ("starts", models.TimeField()),
                ("ends", models.TimeField(help_text="Not included; `days_later` says on which day.")),
                (
                    "days_later",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="How many days after its start it ends: 0 on the same day, 1 on the next, 3 from a Friday to the Monday.",
                    ),
                ),
                (
                    "shift",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="windows", to="escalation.shift"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="CalendarFeed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.CharField(max_length=64, unique=True)),
                (
                    "group",
                    models.ForeignKey(
                        help_text="Empty: the calendar shows the person's own on-call periods.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="calendar_feeds",
                        to="accounts.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="calendar_feeds",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("user", "group"), name="feed_once", nulls_distinct=False)
                ],
            },
        ),
        migrations.CreateModel(
            name="OnCallReminder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("primary", "Primary"), ("secondary", "Secondary"), ("manager", "Manager")],
                        max_length=10,
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.group"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("user", "group", "role", "starts_at"), name="reminded_once")
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="escalationpolicy",
            constraint=models.UniqueConstraint(
                models.F("organization"), django.db.models.functions.text.Lower("name"), name="policy_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="escalationpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("low_waits_until__lt", datetime.time(22, 0))), name="policy_low_waits_for_morning"
            ),
        ),
        migrations.AddConstraint(
            model_name="bundlewindow",
            constraint=models.UniqueConstraint(fields=("contact_method", "kind"), name="bundle_window_once"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)),
                fields=["channel", "urgency", "priority_rank", "next_attempt_at"],
                name="notification_due_by_priority",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("message_id__isnull", True), ("next_attempt_at__isnull", False)),
                fields=["contact_method", "kind", "next_attempt_at"],
                name="notification_for_bundle_window",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("message_id__isnull", False)), fields=["message_id"], name="notification_by_message"
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("attempts__gte", 0), ("status", "sending")),
                fields=["channel", "next_attempt_at"],
                name="notification_sending",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("failing_since__isnull", False), ("next_attempt_at__isnull", False)),
                fields=["channel", "failing_since"],
                name="notification_failing",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("status", "failed")), fields=["created_at"], name="notification_given_up"
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                models.F("address"),
                django.db.models.functions.comparison.Coalesce("accepted_at", "possibly_sent_at"),
                condition=models.Q(("channel", "sms")),
                name="notification_by_number",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("group__isnull", False)), fields=["group"], name="notification_by_group"
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("alert__isnull", True)), fields=["created_at"], name="notice_by_age"
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.UniqueConstraint(
                fields=("alert", "kind", "step", "contact_method", "retry", "repeat"), name="notification_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_attempt_at__isnull", False), ("status__in", ["pending", "sending"])),
                    models.Q(
                        ("next_attempt_at__isnull", True),
                        ("status__in", ["accepted", "delivered", "failed", "superseded"]),
                    ),
                    _connector="OR",
                ),
                name="notification_due_while_unsent",
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("group__isnull", True), ("user__isnull", False)),
                    models.Q(("group__isnull", False), ("user__isnull", True)),
                    _connector="OR",
                ),
                name="notification_to_one",
            ),
        ),
        migrations.AddIndex(
            model_name="outofoffice",
            index=models.Index(fields=["ends_at"], name="out_of_office_by_end"),
        ),
        migrations.AddConstraint(
            model_name="outofoffice",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="out_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="outofoffice",
            constraint=models.CheckConstraint(
                condition=models.Q(("cover", models.F("user")), _negated=True), name="cover_is_somebody_else"
            ),
        ),
        migrations.AddConstraint(
            model_name="outofoffice",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                expressions=[
                    (
                        models.Func(
                            models.F("user"),
                            models.F("user"),
                            django.contrib.postgres.fields.ranges.RangeBoundary(
                                inclusive_lower=True, inclusive_upper=True
                            ),
                            function="int8range",
                            output_field=django.contrib.postgres.fields.ranges.BigIntegerRangeField(),
                        ),
                        "&&",
                    ),
                    (
                        models.Func(
                            models.F("group"),
                            models.F("group"),
                            django.contrib.postgres.fields.ranges.RangeBoundary(
                                inclusive_lower=True, inclusive_upper=True
                            ),
                            function="int8range",
                            output_field=django.contrib.postgres.fields.ranges.BigIntegerRangeField(),
                        ),
                        "&&",
                    ),
                    (
                        models.Func(
                            "starts_at",
                            "ends_at",
                            function="tstzrange",
                            output_field=django.contrib.postgres.fields.ranges.DateTimeRangeField(),
                        ),
                        "&&",
                    ),
                ],
                name="out_of_office_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="policyrole",
            constraint=models.UniqueConstraint(fields=("policy", "role"), name="policy_role_once"),
        ),
        migrations.AddConstraint(
            model_name="policyrole",
            constraint=models.CheckConstraint(
                condition=models.Q(("retries", 0), ("retry_interval_minutes__gt", 0), _connector="OR"),
                name="retries_need_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="response",
            constraint=models.UniqueConstraint(fields=("alert", "action", "reference"), name="response_once"),
        ),
        migrations.AddConstraint(
            model_name="responseplay",
            constraint=models.UniqueConstraint(
                models.F("organization"), django.db.models.functions.text.Lower("name"), name="play_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="responseplay",
            constraint=models.CheckConstraint(
                condition=models.Q(("low_waits_until__lt", datetime.time(22, 0))), name="play_low_waits_for_morning"
            ),
        ),
        migrations.AddConstraint(
            model_name="playtier",
            constraint=models.UniqueConstraint(fields=("play", "offset_minutes"), name="tier_offset_once"),
        ),
        migrations.AddIndex(
            model_name="escalationrun",
            index=models.Index(
                condition=models.Q(("next_step_at__isnull", False), ("parked", False)),
                fields=["next_step_at"],
                name="run_due",
            ),
        ),
        migrations.AddIndex(
            model_name="escalationrun",
            index=models.Index(condition=models.Q(("parked", True)), fields=["alert"], name="run_parked"),
        ),
        migrations.AddIndex(
            model_name="escalationrun",
            index=models.Index(
                condition=models.Q(("review_at__isnull", False)), fields=["review_at"], name="run_review"
            ),
        ),
        migrations.AddIndex(
            model_name="escalationrun",
            index=models.Index(condition=models.Q(("policy__isnull", False)), fields=["policy"], name="run_by_policy"),
        ),
        migrations.AddIndex(
            model_name="escalationrun",
            index=models.Index(condition=models.Q(("play__isnull", False)), fields=["play"], name="run_by_play"),
        ),
        migrations.AddIndex(
            model_name="shift",
            index=models.Index(
                condition=models.Q(("kind", "calendar")), fields=["calendar_due_at"], name="calendar_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="shift",
            constraint=models.UniqueConstraint(
                models.F("group"), django.db.models.functions.text.Lower("name"), name="shift_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="shift",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="shift_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="shift",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "rotating"), _negated=True), ("first_handoff_on__isnull", False), _connector="OR"
                ),
                name="rotating_has_handoff",
            ),
        ),
        migrations.AddConstraint(
            model_name="shift",
            constraint=models.CheckConstraint(
                condition=models.Q(("people_at_once__gt", 0), ("rotates_count__gt", 0)), name="rotation_moves_and_fills"
            ),
        ),
        migrations.AddConstraint(
            model_name="shift",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("calendar_due_at__isnull", False),
                        ("kind", "calendar"),
                        models.Q(("calendar_url", ""), _negated=True),
                    ),
                    models.Q(
                        models.Q(("kind", "calendar"), _negated=True),
                        ("calendar_due_at__isnull", True),
                        ("calendar_url", ""),
                    ),
                    _connector="OR",
                ),
                name="calendar_has_address",
            ),
        ),
        migrations.AddIndex(
            model_name="shiftentry",
            index=models.Index(fields=["shift", "starts_at"], name="entry_by_time"),
        ),
        migrations.AddConstraint(
            model_name="shiftentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="entry_ends_after_start"
            ),
        ),
        migrations.AddIndex(
            model_name="shiftnotice",
            index=models.Index(fields=["due_at"], name="shift_notice_due"),
        ),
        migrations.AddConstraint(
            model_name="shiftnotice",
            constraint=models.UniqueConstraint(fields=("user", "shift"), name="shift_notice_once"),
        ),
        migrations.AddConstraint(
            model_name="shiftnotice",
            constraint=models.UniqueConstraint(fields=("user", "out_of_office"), name="cover_notice_once"),
        ),
        migrations.AddConstraint(
            model_name="shiftnotice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("out_of_office__isnull", False), ("shift__isnull", True)),
                    models.Q(("out_of_office__isnull", True), ("shift__isnull", False)),
                    _connector="OR",
                ),
                name="notice_of_a_shift_or_a_cover",
            ),
        ),
        migrations.AddConstraint(
            model_name="shiftperson",
            constraint=models.UniqueConstraint(fields=("shift", "user", "role"), name="shift_person_once_per_role"),
        ),
        migrations.AddConstraint(
            model_name="shiftperson",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["primary", "secondary"])), name="shift_person_role"
            ),
        ),
        migrations.AddConstraint(
            model_name="shiftwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "days__contained_by",
                        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
                    ),
                    ("days__len__gt", 0),
                ),
                name="window_on_weekdays",
            ),
        ),
        migrations.AddConstraint(
            model_name="shiftwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(("days_later__gt", 0), ("ends__gt", models.F("starts")), _connector="OR"),
                name="window_ends_after_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="shiftwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("days_later__lt", 7),
                    models.Q(("days_later", 7), ("ends__lte", models.F("starts"))),
                    _connector="OR",
                ),
                name="window_within_a_week",
            ),
        ),
    ]
