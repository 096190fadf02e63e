
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0012_methods_that_fail'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='shift_notices',
            field=models.BooleanField(db_default=True, default=True, help_text='Notified when somebody puts them on a shift, or makes them a cover.'),
        ),
    ]
