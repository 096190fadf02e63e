"""A rotation remembers in which turn who was on when its people last changed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("escalation", "0023_shift_override"),
    ]

    operations = [
        migrations.AddField(
            model_name="shift",
            name="turn_number",
            field=models.IntegerField(
                db_default=0,
                default=0,
                help_text="The turn, counted from the first hand-off, in which the people first in `turn_order` are on.",
            ),
        ),
        migrations.AddField(
            model_name="shiftperson",
            name="turn_order",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="Order of the turns from the shift's `turn_number` on; equal ones by position.",
            ),
        ),
    ]
