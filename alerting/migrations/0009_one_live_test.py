import alerting.states
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('alerting', '0008_test_alerts'),
    ]

    operations = [
        migrations.RunSQL(
            # An AddConstraint would keep alerts from opening while the table is read.
            sql="CREATE UNIQUE INDEX CONCURRENTLY one_live_test_per_integration ON alerting_alert (integration_id)"
            " WHERE is_test AND status IN ('assigned', 'on_hold', 'open')",
            reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS one_live_test_per_integration",
            state_operations=[
                migrations.AddConstraint(
                    model_name='alert',
                    constraint=models.UniqueConstraint(condition=models.Q(('is_test', True), ('status__in', [alerting.states.Status['ASSIGNED'], alerting.states.Status['ON_HOLD'], alerting.states.Status['OPEN']])), fields=('integration_id',), name='one_live_test_per_integration'),
                ),
            ],
        ),
    ]
