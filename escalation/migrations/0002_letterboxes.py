"""Letterboxes: when a person is told again over one contact method."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_bundle_seconds"),
        ("escalation", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Letterbox",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("page", "Alert"), ("last_resort", "Last resort"), ("recovery", "Recovery"), ("notice", "Notice")], max_length=12)),
                ("shut_until", models.DateTimeField(blank=True, help_text="Empty: nothing went out yet.", null=True)),
                ("contact_method", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.contactmethod")),
            ],
            options={
                "verbose_name_plural": "letterboxes",
                "constraints": [models.UniqueConstraint(fields=("contact_method", "kind"), name="letterbox_once")],
            },
        ),
    ]
