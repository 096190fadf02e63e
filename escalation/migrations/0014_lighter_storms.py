"""Leave out the keys and indexes that cost a storm most and decide nothing."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('accounts', '0006_nested_groups'),
        ('alerting', '0003_lighter_storms'),
        ('escalation', '0013_each_repeat_once'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='escalationrun',
            index=models.Index(condition=models.Q(('policy__isnull', False)), fields=['policy'], name='run_by_policy'),
        ),
        AddIndexConcurrently(
            model_name='escalationrun',
            index=models.Index(condition=models.Q(('play__isnull', False)), fields=['play'], name='run_by_play'),
        ),
        migrations.AlterField(
            model_name='escalationrun',
            name='alert',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='run', to='alerting.alert'),
        ),
        migrations.AlterField(
            model_name='escalationrun',
            name='play',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='escalation.responseplay'),
        ),
        migrations.AlterField(
            model_name='escalationrun',
            name='policy',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='escalation.escalationpolicy'),
        ),
        migrations.AlterField(
            model_name='notification',
            name='alert',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='notifications', to='alerting.alert'),
        ),
        migrations.AlterField(
            model_name='notification',
            name='organization',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization'),
        ),
        migrations.AlterField(
            model_name='notification',
            name='run',
            field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='notifications', to='escalation.escalationrun'),
        ),
    ]
