"""What Email integrations are configured by, what is read in mails, and the secret of each mail address."""

from django.db import migrations, models
from django.db.models.expressions import RawSQL

from heartbeat_project.kernel.audit_triggers import AuditTable
from heartbeat_project.kernel.ids import new_mail_token

# As in 0004, where the trigger was made. The mail token changes with the token, whose change is an entry.
INTEGRATION = "SELECT ($1->>'id')::bigint, $1->>'name', ($1->>'organization_id')::bigint, '{token}'::text[]"
# Each row that stands gets one of its own.
RANDOM_TOKEN = RawSQL("substr(translate(replace(gen_random_uuid()::text, '-', ''), '0189', 'ghij'), 1, 26)", ())
EMPTY_LIST, EMPTY_OBJECT = models.Value([], models.JSONField()), models.Value({}, models.JSONField())


class Migration(migrations.Migration):
    dependencies = [("integrations", "0013_coverage_reports")]

    operations = [
        migrations.AddField(
            "eventsettings",
            "aliases",
            models.JSONField(default=list, db_default=EMPTY_LIST, help_text="Further addresses, in lower case."),
        ),
        migrations.AddField(
            "eventsettings",
            "allowed_senders",
            models.JSONField(default=list, db_default=EMPTY_LIST, help_text="Addresses, or @domain, in lower case."),
        ),
        migrations.AddField("eventsettings", "every_mail_opens", models.BooleanField(default=False, db_default=False)),
        migrations.AddField(
            "eventsettings",
            "extract",
            models.JSONField(
                default=dict,
                db_default=EMPTY_OBJECT,
                help_text="Where fields stand in a mail: between two texts, or in the first group of a regular expression.",
            ),
        ),
        migrations.AddField(
            "eventsettings", "require_authenticated", models.BooleanField(default=False, db_default=False)
        ),
        migrations.AddField(
            "eventsettings",
            "sequence",
            models.PositiveIntegerField(
                default=1, db_default=1, help_text="Integrations with the same alias are tried in this order."
            ),
        ),
        migrations.AddField(
            "inboundevent",
            "content",
            models.JSONField(null=True, help_text="What was read in a mail; null for other events."),
        ),
        migrations.AlterField(
            "formertoken",
            "token",
            models.CharField(
                max_length=64,
                primary_key=True,
                serialize=False,
                help_text="That of a mail address has MAIL before it.",
            ),
        ),
        migrations.AddField(
            "inboundintegration",
            "mail_token",
            models.CharField(
                max_length=26,
                unique=True,
                default=new_mail_token,
                db_default=RANDOM_TOKEN,
                help_text="The secret of the mail address, in lower case.",
            ),
        ),
        AuditTable(
            "integrations_inboundintegration", "integration", found_by=INTEGRATION, left_out=("mail_token",)
        ),
    ]
