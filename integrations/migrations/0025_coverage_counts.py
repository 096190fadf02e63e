"""The number of integrations that reached nobody at the last look, which stands on top of all pages."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A small table: one row for each organization."""

    dependencies = [("integrations", "0024_chat")]

    operations = [
        migrations.AddField(
            model_name="coveragewatch",
            name="uncovered",
            field=models.PositiveIntegerField(
                default=0, db_default=0, help_text="How many integrations reached nobody at the last look."
            ),
        ),
    ]
