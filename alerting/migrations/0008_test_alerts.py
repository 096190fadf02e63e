from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('alerting', '0007_hold_until'),
    ]

    operations = [
        migrations.AddField(
            model_name='alert',
            name='is_test',
            field=models.BooleanField(db_default=False, default=False, help_text='Nothing is wrong: somebody tries who is notified. Counted nowhere; it closes by itself.'),
        ),
        migrations.AlterField(
            model_name='alert',
            name='source',
            field=models.CharField(help_text='Heartbeat, API, Email, Manual or Test.', max_length=20),
        ),
    ]
