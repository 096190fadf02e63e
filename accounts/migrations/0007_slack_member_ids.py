from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_nested_groups'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='slack_id',
            field=models.CharField(blank=True, db_default='', default='', help_text='Who presses a button in Slack is this person. In Slack: your profile, then “Copy member ID”.', max_length=24, verbose_name='Slack member ID'),
        ),
    ]
