from django.db import migrations, models


class Migration(migrations.Migration):

    # More room in a varchar changes the catalogue alone: no row is read or written.
    dependencies = [
        ('accounts', '0004_opt_outs'),
    ]

    operations = [
        migrations.AlterField(
            model_name='contactmethod',
            name='address',
            field=models.CharField(help_text='E-mail address, phone number (E.164), URL, or what a browser calls its push subscription (JSON).', max_length=2000),
        ),
    ]
