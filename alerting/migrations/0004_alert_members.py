"""Members: several problems that stand in one alert."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerting", "0003_audit_bridges")]

    operations = [
        migrations.CreateModel(
            name='AlertMember',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('alert', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='members', to='alerting.alert')),
                ('integration_id', models.BigIntegerField()),
                ('key_hash', models.CharField(blank=True, db_default='', default='', help_text='As that of an alert.', max_length=64)),
                ('source_id', models.CharField(max_length=200)),
                ('subject', models.CharField(max_length=300)),
                ('is_open', models.BooleanField(default=True)),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('event_count', models.PositiveIntegerField(default=1)),
                ('last_event_at', models.DateTimeField()),
            ],
            options={
                "ordering": ["id"],
                "constraints": [models.UniqueConstraint(fields=("alert", "source_id"), name="member_once")],
                "indexes": [
                    models.Index(
                        fields=["integration_id", "key_hash"],
                        condition=models.Q(("is_open", True), models.Q(("key_hash", ""), _negated=True)),
                        name="open_member_by_key",
                    )
                ],
            },
        ),
    ]
