"""Alerts that were taken are looked at again: how long after, and what then."""

import escalation.models
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerting', '0007_hold_until'),
        ('escalation', '0024_running_turns'),
    ]

    operations = [
        migrations.AddField(
            model_name='escalationpolicy',
            name='reopen_after_minutes',
            field=escalation.models.MinutesColumn(db_default=0, decimal_places=1, default=0, help_text='After so long without an action on a taken alert its owner is reminded; 0: never. 60 for a new Critical one where nothing is said.', max_digits=6),
        ),
        migrations.AddField(
            model_name='escalationrun',
            name='acted_at',
            field=models.DateTimeField(help_text='When a person last did something to the alert.', null=True),
        ),
        migrations.AddField(
            model_name='escalationrun',
            name='reopen_after_minutes',
            field=escalation.models.MinutesColumn(db_default=0, decimal_places=1, default=0, help_text='Of the policy or play.', max_digits=6),
        ),
        migrations.AddField(
            model_name='escalationrun',
            name='reopened_at',
            field=models.DateTimeField(help_text='When it was last opened again because nobody answered.', null=True),
        ),
        migrations.AddField(
            model_name='escalationrun',
            name='review',
            field=models.CharField(blank=True, choices=[('remind', 'Remind whoever has it'), ('reopen', 'Open it again: no answer to the reminder'), ('handed', 'Open it again: whom it was assigned to took no action'), ('hold_ends', 'Open it again: the hold ends')], db_default='', default='', max_length=10),
        ),
        migrations.AddField(
            model_name='escalationrun',
            name='review_at',
            field=models.DateTimeField(help_text='Empty: the alert is not taken, or nobody is to be reminded.', null=True),
        ),
        migrations.AddField(
            model_name='responseplay',
            name='reopen_after_minutes',
            field=escalation.models.MinutesColumn(db_default=0, decimal_places=1, default=0, help_text='After so long without an action on a taken alert its owner is reminded; 0: never. 60 for a new Critical one where nothing is said.', max_digits=6),
        ),
    ]
