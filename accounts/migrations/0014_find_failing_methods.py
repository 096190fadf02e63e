from django.contrib.postgres.indexes import HashIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('accounts', '0013_shift_notices'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='contactmethod',
            index=models.Index(condition=models.Q(('failed_at__isnull', False)), fields=['kind', 'failed_at'], name='contact_failed_lately'),
        ),
        AddIndexConcurrently(
            model_name='contactmethod',
            index=HashIndex(condition=models.Q(('kind', 'push')), fields=['address'], name='contact_by_subscription'),
        ),
    ]
