from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0021_longer_actions_and_kinds'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='in_time',
            field=models.BooleanField(db_default=True, default=True, help_text='It is used before what comes next in the walk; otherwise it reaches nobody before it arrives.'),
        ),
    ]
