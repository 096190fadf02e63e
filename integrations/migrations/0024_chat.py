"""How Chat integrations are configured, the threads of their alerts, and the outbox to their platforms."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import integrations.models.chat
from heartbeat_project.kernel.audit_triggers import AuditTable, part_of


class Migration(migrations.Migration):
    dependencies = [
        ("alerting", "0011_alerts_that_close_by_themselves"),
        ("integrations", "0023_tags_of_windows"),
    ]

    operations = [
        migrations.CreateModel(
            name="ChatSettings",
            fields=[
                (
                    "integration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="chat_settings",
                        serialize=False,
                        to="integrations.inboundintegration",
                    ),
                ),
                (
                    "platform",
                    models.CharField(
                        choices=[
                            ("slack", "Slack"),
                            ("mattermost", "Mattermost"),
                            ("generic", "Anything that can POST a text"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "secrets",
                    models.JSONField(
                        default=dict, help_text="What the platform signs with, and the token of our bot."
                    ),
                ),
                (
                    "api_base",
                    models.CharField(blank=True, help_text="Empty: the platform's own.", max_length=500),
                ),
                (
                    "channels",
                    models.JSONField(
                        default=list, help_text="Ids or names of the channels that may be used; empty: any."
                    ),
                ),
                (
                    "command",
                    models.CharField(default="/heartbeat", help_text="As it is called in texts.", max_length=40),
                ),
                (
                    "open_from",
                    models.JSONField(
                        default=integrations.models.chat.only_command,
                        help_text="Among command, mention and message.",
                    ),
                ),
                (
                    "updates",
                    models.CharField(
                        choices=[
                            ("thread", "In the thread of the message that opened it"),
                            ("channel", "In the channel"),
                            ("none", "Nowhere"),
                        ],
                        default="thread",
                        max_length=10,
                    ),
                ),
                (
                    "who_may_open",
                    models.CharField(
                        choices=[
                            ("anybody", "Anybody in the channels"),
                            ("linked", "Only users who have linked their chat account"),
                        ],
                        default="anybody",
                        max_length=10,
                    ),
                ),
            ],
            options={"verbose_name_plural": "chat settings"},
        ),
        migrations.CreateModel(
            name="ChatThread",
            fields=[
                (
                    "alert",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="chat_thread",
                        serialize=False,
                        to="alerting.alert",
                    ),
                ),
                ("channel", models.CharField(help_text="The platform's id of the channel.", max_length=100)),
                (
                    "root",
                    models.CharField(
                        blank=True,
                        help_text="The platform's id of the message that the lines stand below.",
                        max_length=100,
                    ),
                ),
                (
                    "seen_entry",
                    models.BigIntegerField(
                        default=0, help_text="The last entry of the timeline that was written there."
                    ),
                ),
                ("is_open", models.BooleanField(default=True, help_text="Whether more may follow.")),
                ("created_at", models.DateTimeField()),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.inboundintegration",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_open", True)), fields=["alert"], name="chat_thread_open"
                    ),
                    models.Index(fields=["created_at"], name="chat_thread_by_age"),
                ]
            },
        ),
        migrations.CreateModel(
            name="ChatMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.UUIDField(default=uuid.uuid4, help_text="The idempotency key.")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("root", "An alert with its buttons"),
                            ("line", "A change of an alert"),
                            ("answer", "An answer to somebody"),
                            ("work", "A request that is carried out later, and then answered"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "url",
                    models.TextField(blank=True, help_text="The address that the platform named for its answer."),
                ),
                (
                    "body",
                    models.JSONField(help_text="The text and what it is about; of `work`, the request."),
                ),
                ("created_at", models.DateTimeField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "next_attempt_at",
                    models.DateTimeField(
                        help_text="When it is due, or its lease ends. Empty: it is done.", null=True
                    ),
                ),
                ("sent_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(blank=True)),
                (
                    "integration",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.inboundintegration",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.chatthread",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["next_attempt_at"],
                        name="chat_message_due",
                    ),
                    models.Index(fields=["thread", "id"], name="chat_message_in_thread"),
                    models.Index(fields=["integration", "-id"], name="chat_message_by_integration"),
                    models.Index(fields=["created_at"], name="chat_message_by_age"),
                ],
            },
        ),
        AuditTable(
            "integrations_chatsettings",
            "integration",
            found_by=part_of("integrations_inboundintegration", "integration_id", secrets="secrets"),
            part="*",
            left_out=("integration_id",),
        ),
    ]
