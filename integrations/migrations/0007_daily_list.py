"""The day of which an organization last had its daily list."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_group_contacts_leave'),
        ('integrations', '0006_listeners'),
    ]

    operations = [
        migrations.CreateModel(
            name='DailyList',
            fields=[
                ('organization', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='accounts.organization')),
                ('day', models.DateField(help_text="In the organization's time zone.")),
            ],
        ),
    ]
