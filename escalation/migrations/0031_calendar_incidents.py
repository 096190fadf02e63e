
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0030_notices_of_failing'),
    ]

    operations = [
        migrations.AddField(
            model_name='shift',
            name='calendar_failing_since',
            field=models.DateTimeField(editable=False, help_text='When the first of the failed tries in a row was; empty: the last one read it.', null=True),
        ),
        migrations.AddField(
            model_name='shift',
            name='calendar_reported_at',
            field=models.DateTimeField(editable=False, help_text='When the Managers were notified that it cannot be read; empty: not yet.', null=True),
        ),
    ]
