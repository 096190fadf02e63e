from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0029_asked_for'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='about_failing',
            field=models.BooleanField(db_default=False, default=False, help_text='A notice that contact methods fail. When its own address is refused, that marks nothing.'),
        ),
    ]
