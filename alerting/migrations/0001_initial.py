import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import alerting.states


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Bridge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("phone_number", models.CharField(blank=True, max_length=40)),
                ("access_code", models.CharField(blank=True, max_length=40)),
                ("meeting_url", models.URLField(blank=True, max_length=500)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="bridges", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("assigned", "Assigned"),
                            ("on_hold", "On Hold"),
                            ("closed", "Closed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
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
                        default="none",
                        max_length=10,
                    ),
                ),
                ("subject", models.CharField(max_length=300)),
                ("short_text", models.CharField(help_text="For SMS and voice.", max_length=300)),
                ("long_text", models.TextField(help_text="For e-mail and chat.")),
                (
                    "facts",
                    models.JSONField(
                        default=list,
                        help_text='The facts of the text, each {"label", "text"} or {"label", "at": RFC 3339}.',
                    ),
                ),
                ("source", models.CharField(help_text="Heartbeat, API, Email, Manual or Test.", max_length=20)),
                ("source_name", models.CharField(max_length=200)),
                ("source_id", models.CharField(max_length=200)),
                (
                    "integration_id",
                    models.BigIntegerField(
                        blank=True, help_text="The inbound integration. If it is deleted, the alert stays.", null=True
                    ),
                ),
                (
                    "expected_at",
                    models.DateTimeField(
                        blank=True, help_text="The deadline that passed. Each deadline opens at most one alert.", null=True
                    ),
                ),
                (
                    "is_test",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Whether it only tests who is notified. Tests close by themselves and are not in any statistics.",
                    ),
                ),
                ("opened_at", models.DateTimeField()),
                (
                    "acknowledged_at",
                    models.DateTimeField(blank=True, help_text="When it was first acknowledged.", null=True),
                ),
                ("assigned_at", models.DateTimeField(blank=True, help_text="When it was first assigned.", null=True)),
                (
                    "hold_until",
                    models.DateTimeField(
                        blank=True, help_text="When the hold ends. Empty: when somebody resumes the alert.", null=True
                    ),
                ),
                (
                    "closed_at",
                    models.DateTimeField(blank=True, help_text="When it was closed or cancelled.", null=True),
                ),
                ("close_reason", models.CharField(blank=True, max_length=200)),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alerts",
                        to="accounts.organization",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="owned_alerts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "bridge",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="alerting.bridge",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="TimelineEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("opened", "Opened"),
                            ("notified", "Notification"),
                            ("notification_failed", "Notification failed"),
                            ("skipped", "Step skipped"),
                            ("last_resort", "Last resort"),
                            ("escalation_ended", "Escalation ended"),
                            ("acknowledged", "Acknowledged"),
                            ("assigned", "Assigned"),
                            ("escalated", "Escalated"),
                            ("held", "On hold"),
                            ("resumed", "Resumed"),
                            ("closed", "Closed"),
                            ("cancelled", "Cancelled"),
                            ("replied", "Reply"),
                            ("unacknowledged", "No longer acknowledged"),
                            ("given_back", "Given back"),
                            ("reassigned", "Reassigned"),
                            ("responders_added", "Responders added"),
                            ("reminded", "Reminder"),
                            ("reopened", "Open again"),
                            ("rule_changed", "Rule changed"),
                        ],
                        max_length=24,
                    ),
                ),
                ("text", models.TextField(help_text="One sentence for people.")),
                (
                    "via",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The channel over which a person acted; see alerting.via.",
                        max_length=10,
                    ),
                ),
                (
                    "how",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The channel for people, such as “by the link in an e-mail”.",
                    ),
                ),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "alert",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="timeline",
                        to="alerting.alert",
                    ),
                ),
            ],
            options={
                "ordering": ["at", "id"],
            },
        ),
        migrations.CreateModel(
            name="AlertRecipient",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "alert",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recipients",
                        to="alerting.alert",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("group__isnull", False)), fields=["group"], name="recipient_by_group"
                    ),
                    models.Index(
                        condition=models.Q(("user__isnull", False)), fields=["user"], name="recipient_by_user"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("group__isnull", False), ("user__isnull", True)),
                            models.Q(("group__isnull", True), ("user__isnull", False)),
                            _connector="OR",
                        ),
                        name="recipient_is_one",
                    ),
                    models.UniqueConstraint(
                        fields=("alert", "group", "user"), name="recipient_once", nulls_distinct=False
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="bridge",
            constraint=models.UniqueConstraint(
                models.F("organization"), django.db.models.functions.text.Lower("name"), name="bridge_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="bridge",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("phone_number", ""), _negated=True),
                    models.Q(("meeting_url", ""), _negated=True),
                    _connector="OR",
                ),
                name="bridge_leads_somewhere",
            ),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["organization", "status", "-id"], name="alert_by_status"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["integration_id", "-id"], name="alert_by_integration"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(condition=models.Q(("status", "open")), fields=["id"], name="alert_open"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(
                    ("status__in", [alerting.states.Status["ASSIGNED"], alerting.states.Status["ON_HOLD"]])
                ),
                fields=["status"],
                name="alert_stopped",
            ),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(("bridge__isnull", False)), fields=["bridge"], name="alert_by_bridge"
            ),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", False)), fields=["closed_at"], name="alert_by_end"
            ),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(condition=models.Q(("owner__isnull", False)), fields=["owner"], name="alert_by_owner"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(("acknowledged_by__isnull", False)),
                fields=["acknowledged_by"],
                name="alert_by_acknowledger",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("source", "Heartbeat"),
                    (
                        "status__in",
                        [
                            alerting.states.Status["ASSIGNED"],
                            alerting.states.Status["ON_HOLD"],
                            alerting.states.Status["OPEN"],
                        ],
                    ),
                ),
                fields=("integration_id",),
                name="one_live_alert_per_heartbeat",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(fields=("integration_id", "expected_at"), name="one_alert_per_silence"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("is_test", True),
                    (
                        "status__in",
                        [
                            alerting.states.Status["ASSIGNED"],
                            alerting.states.Status["ON_HOLD"],
                            alerting.states.Status["OPEN"],
                        ],
                    ),
                ),
                fields=("integration_id",),
                name="one_live_test_per_integration",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("closed_at__isnull", True),
                        (
                            "status__in",
                            [
                                alerting.states.Status["ASSIGNED"],
                                alerting.states.Status["ON_HOLD"],
                                alerting.states.Status["OPEN"],
                            ],
                        ),
                    ),
                    models.Q(("closed_at__isnull", False), ("status__in", ["closed", "cancelled"])),
                    _connector="OR",
                ),
                name="closed_at_notifies_final",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "assigned"), _negated=True),
                    models.Q(("assigned_at__isnull", False), ("owner__isnull", False)),
                    _connector="OR",
                ),
                name="assigned_has_owner",
            ),
        ),
        migrations.AddIndex(
            model_name="timelineentry",
            index=models.Index(fields=["alert", "at", "id"], name="timeline_by_alert"),
        ),
        migrations.AddIndex(
            model_name="timelineentry",
            index=models.Index(
                condition=models.Q(("actor__isnull", False)), fields=["actor"], name="timeline_by_actor"
            ),
        ),
    ]
