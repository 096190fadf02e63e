"""Leave out the keys and indexes that cost a storm most and decide nothing."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.conf import settings
from django.db import migrations, models


# One index for what two partial ones and a third for the foreign key did.
ONCE = [
    """
    CREATE UNIQUE INDEX CONCURRENTLY recipient_once ON alerting_alertrecipient (alert_id, group_id, user_id)
        NULLS NOT DISTINCT
    """,
    """
    ALTER TABLE alerting_alertrecipient
        ADD CONSTRAINT recipient_once UNIQUE USING INDEX recipient_once
    """,
    "DROP INDEX CONCURRENTLY recipient_group_once",
    "DROP INDEX CONCURRENTLY recipient_user_once",
]
TWICE = [
    """
    CREATE UNIQUE INDEX CONCURRENTLY recipient_group_once ON alerting_alertrecipient (alert_id, group_id)
        WHERE user_id IS NULL
    """,
    """
    CREATE UNIQUE INDEX CONCURRENTLY recipient_user_once ON alerting_alertrecipient (alert_id, user_id)
        WHERE group_id IS NULL
    """,
    "ALTER TABLE alerting_alertrecipient DROP CONSTRAINT recipient_once",
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('accounts', '0006_nested_groups'),
        ('alerting', '0002_one_index_for_each_question'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='alert',
            index=models.Index(condition=models.Q(('bridge__isnull', False)), fields=['bridge'], name='alert_by_bridge'),
        ),
        AddIndexConcurrently(
            model_name='alert',
            index=models.Index(condition=models.Q(('owner__isnull', False)), fields=['owner'], name='alert_by_owner'),
        ),
        AddIndexConcurrently(
            model_name='alert',
            index=models.Index(condition=models.Q(('acknowledged_by__isnull', False)), fields=['acknowledged_by'], name='alert_by_acknowledger'),
        ),
        AddIndexConcurrently(
            model_name='alertrecipient',
            index=models.Index(condition=models.Q(('group__isnull', False)), fields=['group'], name='recipient_by_group'),
        ),
        AddIndexConcurrently(
            model_name='alertrecipient',
            index=models.Index(condition=models.Q(('user__isnull', False)), fields=['user'], name='recipient_by_user'),
        ),
        AddIndexConcurrently(
            model_name='timelineentry',
            index=models.Index(condition=models.Q(('actor__isnull', False)), fields=['actor'], name='timeline_by_actor'),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ONCE, TWICE)],
            state_operations=[
                migrations.RemoveConstraint(
                    model_name='alertrecipient',
                    name='recipient_group_once',
                ),
                migrations.RemoveConstraint(
                    model_name='alertrecipient',
                    name='recipient_user_once',
                ),
                migrations.AddConstraint(
                    model_name='alertrecipient',
                    constraint=models.UniqueConstraint(fields=('alert', 'group', 'user'), name='recipient_once', nulls_distinct=False),
                ),
            ],
        ),
        migrations.AlterField(
            model_name='alert',
            name='acknowledged_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='alert',
            name='bridge',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='alerting.bridge'),
        ),
        migrations.AlterField(
            model_name='alert',
            name='owner',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='owned_alerts', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='alertrecipient',
            name='alert',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='recipients', to='alerting.alert'),
        ),
        migrations.AlterField(
            model_name='alertrecipient',
            name='group',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.group'),
        ),
        migrations.AlterField(
            model_name='alertrecipient',
            name='user',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='timelineentry',
            name='actor',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
    ]
