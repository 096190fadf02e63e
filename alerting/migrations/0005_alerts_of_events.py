"""Alerts know the type of their integration, and what events say: key, url, number and time of events."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerting", "0004_alert_members")]

    operations = [
        migrations.AddField(
            model_name='alert',
            name='closes_at',
            field=models.DateTimeField(blank=True, help_text='When it closes by itself unless another event comes to it.', null=True),
        ),
        migrations.AddField(
            model_name='alert',
            name='event_count',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='How many events came to it; 0 for alerts that no event opened.'),
        ),
        migrations.AddField(
            model_name='alert',
            name='integration_type',
            field=models.CharField(blank=True, db_default='', default='', help_text='Empty if a person or a test opened it.', max_length=10),
        ),
        migrations.AddField(
            model_name='alert',
            name='key_hash',
            field=models.CharField(blank=True, db_default='', default='', help_text='SHA-256 of source, source name and source id, by which events find the alert.', max_length=64),
        ),
        migrations.AddField(
            model_name='alert',
            name='last_event_at',
            field=models.DateTimeField(blank=True, help_text='When the newest event came to it.', null=True),
        ),
        migrations.AddField(
            model_name='alert',
            name='url',
            field=models.TextField(blank=True, db_default='', default='', help_text='Where the sender shows the problem.'),
        ),
        migrations.AlterField(
            model_name='timelineentry',
            name='kind',
            field=models.CharField(choices=[('opened', 'Opened'), ('notified', 'Notification'), ('notification_failed', 'Notification failed'), ('skipped', 'Step skipped'), ('last_resort', 'Last resort'), ('escalation_ended', 'Escalation ended'), ('acknowledged', 'Acknowledged'), ('assigned', 'Assigned'), ('escalated', 'Escalated'), ('held', 'On hold'), ('resumed', 'Resumed'), ('closed', 'Closed'), ('cancelled', 'Cancelled'), ('replied', 'Reply'), ('unacknowledged', 'No longer acknowledged'), ('given_back', 'Given back'), ('reassigned', 'Reassigned'), ('responders_added', 'Responders added'), ('reminded', 'Reminder'), ('reopened', 'Open again'), ('rule_changed', 'Rule changed'), ('updated', 'Updated'), ('member', 'Member'), ('storm', 'Storm')], max_length=24),
        ),
    ]
