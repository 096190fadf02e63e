"""A contact method may be used again as often as its owner wants: the repeat is part of what makes a page one page."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_longer_addresses"),
        ("escalation", "0009_circuits_and_allowances"),
    ]

    operations = [
        migrations.AddField(
            model_name="notification",
            name="repeat",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="0: first; 1 and above: repeats that the contact method's owner wants.",
            ),
        ),
    ]
