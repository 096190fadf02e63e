from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerting', '0005_what_stopped_is_counted'),
    ]

    operations = [
        migrations.AlterField(
            model_name='timelineentry',
            name='kind',
            field=models.CharField(choices=[('opened', 'Opened'), ('told', 'Notification'), ('told_failed', 'Notification failed'), ('skipped', 'Step skipped'), ('last_resort', 'Last resort'), ('walk_ended', 'Escalation ended'), ('acknowledged', 'Acknowledged'), ('assigned', 'Assigned'), ('escalated', 'Escalated'), ('held', 'On hold'), ('resumed', 'Resumed'), ('closed', 'Closed'), ('cancelled', 'Cancelled'), ('replied', 'Reply'), ('unacknowledged', 'No longer acknowledged'), ('given_back', 'Given back'), ('reassigned', 'Reassigned'), ('responders_added', 'Responders added'), ('reminded', 'Reminder'), ('reopened', 'Open again'), ('rule_changed', 'Rule changed')], max_length=24),
        ),
    ]
