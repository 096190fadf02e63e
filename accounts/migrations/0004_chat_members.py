"""Members of chats are linked with users by a code; the Slack member IDs that people typed are no longer used.

Anybody could type any ID, so none of them is taken over. Their column stays until the next release, because processes of
the release before read it while this migration runs.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from heartbeat_project.kernel.audit_triggers import AuditTable, part_of


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_audit_relations")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint("user", "slack_id_once"),
                migrations.RemoveField("user", "slack_id"),
            ]
        ),
        migrations.CreateModel(
            name="ChatMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("platform", models.CharField(max_length=12)),
                ("scope", models.CharField(help_text="The digest of platform and secret.", max_length=64)),
                ("member", models.CharField(help_text="The platform's id of the person.", max_length=210)),
                ("name", models.CharField(blank=True, help_text="As the platform named them.", max_length=100)),
                ("linked_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chat_members",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["platform", "id"],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "scope", "member"), name="chat_member_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ChatLinkCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("platform", models.CharField(max_length=12)),
                ("scope", models.CharField(max_length=64)),
                ("member", models.CharField(max_length=210)),
                ("name", models.CharField(blank=True, max_length=100)),
                ("code_digest", models.CharField(help_text="SHA-256 of the code.", max_length=64, unique=True)),
                ("expires_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["expires_at"], name="chat_link_code_by_end")],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "scope", "member"), name="chat_link_code_once")
                ],
            },
        ),
        AuditTable(
            "accounts_chatmember",
            "user",
            found_by=part_of("accounts_user", "user_id"),
            part="chat_members",
            left_out=("user_id", "scope"),
        ),
        # The column that nobody reads any more is no part of a user in the log.
        AuditTable(
            "accounts_user",
            "user",
            found_by=(
                "SELECT ($1->>'id')::bigint, $1->>'name', ($1->>'organization_id')::bigint, '{password}'::text[]"
            ),
            left_out=("last_login", "session_round", "slack_id"),
        ),
    ]
