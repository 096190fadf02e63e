"""An alert may be on hold until a moment."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerting', '0006_longer_timeline_kinds'),
    ]

    operations = [
        migrations.AddField(
            model_name='alert',
            name='hold_until',
            field=models.DateTimeField(blank=True, help_text='On hold until then; empty: until somebody resumes it.', null=True),
        ),
    ]
