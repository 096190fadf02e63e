
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_group_contacts_leave'),
        ('integrations', '0007_daily_list'),
    ]

    operations = [
        migrations.CreateModel(
            name='CoverageWatch',
            fields=[
                ('organization', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='accounts.organization')),
                ('due_at', models.DateTimeField(help_text='When the gaps are looked for next.')),
                ('gaps_since', models.DateTimeField(help_text='Since when there has been a gap at every look.', null=True)),
                ('mailed_at', models.DateTimeField(help_text='When the last mail was written.', null=True)),
                ('foreseen', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict, help_text='Beginnings of gaps in the next day, each with when it was first seen, null once a mail named it.')),
            ],
            options={
                'verbose_name_plural': 'coverage watches',
                'indexes': [models.Index(fields=['due_at'], name='coverage_watch_due')],
            },
        ),
    ]
