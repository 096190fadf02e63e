from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0027_review_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='escalationrun',
            name='begun_at_step',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='`step` when the walk last began anew, or its alert was opened again: whoever was notified in it or before does not count as reached.'),
        ),
    ]
