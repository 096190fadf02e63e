from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_group_contacts_leave'),
    ]

    operations = [
        migrations.AddField(
            model_name='contactmethod',
            name='failed_at',
            field=models.DateTimeField(blank=True, help_text='When it refused the last of them.', null=True),
        ),
        migrations.AddField(
            model_name='contactmethod',
            name='failing_reason',
            field=models.TextField(blank=True, db_default='', default='', help_text='How it was refused last.'),
        ),
        migrations.AddField(
            model_name='contactmethod',
            name='failing_since',
            field=models.DateTimeField(blank=True, help_text='Since when its address is refused; then it is used after the others and reaches nobody.', null=True),
        ),
        migrations.AddField(
            model_name='contactmethod',
            name='failures',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='How many messages in a row the address refused.'),
        ),
        migrations.AddField(
            model_name='contactmethod',
            name='managers_notified_at',
            field=models.DateTimeField(blank=True, help_text='When the Managers were last notified that it fails.', null=True),
        ),
        migrations.AddField(
            model_name='contactmethod',
            name='owner_notified_at',
            field=models.DateTimeField(blank=True, help_text='When its owner was last notified that it fails, or had no other method.', null=True),
        ),
    ]
