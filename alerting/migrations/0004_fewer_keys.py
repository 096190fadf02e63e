"""Leave out keys that are checked row by row in a storm and hold nothing that is not held otherwise."""

import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('accounts', '0011_group_contacts_leave'),
        ('alerting', '0003_lighter_storms'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        RemoveIndexConcurrently(
            model_name='alert',
            name='alert_live',
        ),
        migrations.AlterField(
            model_name='alert',
            name='organization',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='accounts.organization'),
        ),
        migrations.AlterField(
            model_name='alertrecipient',
            name='group',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.group'),
        ),
        migrations.AlterField(
            model_name='alertrecipient',
            name='user',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
    ]
