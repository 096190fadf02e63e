from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0026_review_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='escalationrun',
            name='begun_at_step',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='`step` when the walk last began anew; earlier pages say nothing about it.'),
        ),
    ]
