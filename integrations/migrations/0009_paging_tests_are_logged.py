from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('integrations', '0008_coverage_watch'),
    ]

    operations = [
        migrations.AlterField(
            model_name='heartbeatevent',
            name='kind',
            field=models.CharField(choices=[('created', 'Created'), ('changed', 'Changed'), ('enabled', 'Enabled'), ('disabled', 'Disabled'), ('rotated', 'API URL rotated'), ('missed', 'Missed'), ('recovered', 'Recovered'), ('maintenance', 'Maintenance'), ('outage', 'Deadline moved by our own outage'), ('set_aside', 'Set aside after an error'), ('tested', 'Paging tested')], max_length=12),
        ),
    ]
