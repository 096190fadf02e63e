import alerting.states
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('alerting', '0004_fewer_keys'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='alert',
            index=models.Index(condition=models.Q(('status__in', [alerting.states.Status['ASSIGNED'], alerting.states.Status['ON_HOLD']])), fields=['status'], name='alert_stopped'),
        ),
    ]
