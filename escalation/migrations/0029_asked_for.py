from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0028_walks_begin_anew'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='asked_for',
            field=models.BooleanField(db_default=False, default=False, help_text='A person asked for it: sent also while somebody has the alert.'),
        ),
        migrations.AlterField(
            model_name='notification',
            name='text',
            field=models.TextField(blank=True, help_text='Of a notice that has no alert; why somebody gets a page.'),
        ),
    ]
