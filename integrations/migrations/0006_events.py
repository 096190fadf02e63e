"""API, Email and Chat integrations: how they read events, and what changes with each."""

import django.db.models.deletion
import heartbeat_project.kernel.fields
import integrations.models.events
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_audit_log'),
        ('integrations', '0005_audit_heartbeats'),
    ]

    operations = [
        migrations.CreateModel(
            name='EventKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key_hash', models.CharField(max_length=64)),
                ('changed_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(help_text="The sender's time of the newest close.", null=True)),
                ('waiting', models.JSONField(help_text='The newest event that waits, mapped.', null=True)),
                ('waiting_since', models.JSONField(default=list, help_text='When the events came that wait.')),
                ('due_at', models.DateTimeField(help_text='When an alert opens unless a close comes before.', null=True)),
            ],
        ),
        migrations.CreateModel(
            name='EventSettings',
            fields=[
                ('integration', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='event_settings', serialize=False, to='integrations.inboundintegration')),
                ('allow_get', models.BooleanField(default=False)),
                ('preset', models.CharField(default='auto', max_length=30)),
                ('mapping', models.JSONField(default=dict, help_text='Templates by field.')),
                ('status_words', models.JSONField(default=dict, help_text='Lists of exact words by action.')),
                ('rules', models.JSONField(default=list)),
                ('no_rule', models.CharField(choices=[('continue', 'Its status decides'), ('ignore', 'It is ignored')], default='continue', max_length=10)),
                ('delay', models.JSONField(default=integrations.models.events.no_delay)),
                ('group_minutes', heartbeat_project.kernel.fields.MinutesColumn(db_default=models.Value(Decimal('0')), decimal_places=1, default=Decimal('0'), max_digits=6)),
                ('auto_close_minutes', heartbeat_project.kernel.fields.MinutesColumn(db_default=models.Value(Decimal('0')), decimal_places=1, default=Decimal('0'), max_digits=6)),
                ('storm_per_minute', models.PositiveIntegerField(default=60, help_text='Alerts that may open in a minute; further ones stand in one alert. 0: no limit.')),
                ('signature', models.JSONField(blank=True, help_text='How senders prove themselves, with the secret.', null=True)),
            ],
            options={
                'verbose_name_plural': 'event settings',
            },
        ),
        migrations.CreateModel(
            name='EventState',
            fields=[
                ('integration', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='event_state', serialize=False, to='integrations.inboundintegration')),
                ('event_count', models.BigIntegerField(default=0)),
                ('rejected_count', models.BigIntegerField(default=0)),
                ('last_event_at', models.DateTimeField(null=True)),
                ('last_rejected_at', models.DateTimeField(null=True)),
                ('last_rejected_from', models.GenericIPAddressField(null=True)),
                ('fault', models.JSONField(help_text='at, event, field and text of the newest event, if it had a fault.', null=True)),
                ('minute', models.DateTimeField(help_text='The start of the minute in which alerts are counted.', null=True)),
                ('opened_in_minute', models.PositiveIntegerField(default=0)),
                ('storm_alert_id', models.BigIntegerField(help_text='The alert that takes what comes beyond the limit.', null=True)),
                ('group_alert_id', models.BigIntegerField(help_text='The alert that other keys may join.', null=True)),
                ('group_ends_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name='inboundevent',
            name='external_id',
            field=models.CharField(blank=True, db_default='', default='', help_text="The sender's id, by which replays are found.", max_length=200),
        ),
        migrations.AddField(
            model_name='inboundevent',
            name='query',
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict, help_text='The parameters of its address.'),
        ),
        migrations.AddField(
            model_name='inboundevent',
            name='source',
            field=models.CharField(blank=True, db_default='', default='', help_text='The last segment of its address.', max_length=100),
        ),
        migrations.AddIndex(
            model_name='inboundevent',
            index=models.Index(condition=models.Q(('external_id', ''), _negated=True), fields=['integration', 'external_id'], name='inbound_by_external_id'),
        ),
        migrations.AddField(
            model_name='eventkey',
            name='integration',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='integrations.inboundintegration'),
        ),
        migrations.AddIndex(
            model_name='eventkey',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='event_key_due'),
        ),
        migrations.AddIndex(
            model_name='eventkey',
            index=models.Index(fields=['changed_at'], name='event_key_age'),
        ),
        migrations.AddConstraint(
            model_name='eventkey',
            constraint=models.UniqueConstraint(fields=('integration', 'key_hash'), name='event_key_once'),
        ),
    ]
