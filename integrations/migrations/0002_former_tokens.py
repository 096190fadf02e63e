"""Create the table of the tokens that still work for a while after their replacement."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="FormerToken",
            fields=[
                ("token", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("ends_at", models.DateTimeField(help_text="From then on, pings to it are answered 404.")),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="former_tokens",
                        to="integrations.inboundintegration",
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["ends_at"], name="former_token_by_end")]},
        ),
    ]
