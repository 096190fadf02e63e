from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0020_fewer_keys'),
    ]

    operations = [
        migrations.AlterField(
            model_name='letterbox',
            name='kind',
            field=models.CharField(choices=[('page', 'Alert'), ('last_resort', 'Last resort'), ('recovery', 'Recovery'), ('notice', 'Notice'), ('assignment', 'Assigned to you'), ('reminder', 'Reminder of an alert that was taken')], max_length=12),
        ),
        migrations.AlterField(
            model_name='notification',
            name='kind',
            field=models.CharField(choices=[('page', 'Alert'), ('last_resort', 'Last resort'), ('recovery', 'Recovery'), ('notice', 'Notice'), ('assignment', 'Assigned to you'), ('reminder', 'Reminder of an alert that was taken')], default='page', max_length=12),
        ),
        migrations.AlterField(
            model_name='response',
            name='action',
            field=models.CharField(help_text='As alerting.states.Action.', max_length=24),
        ),
    ]
