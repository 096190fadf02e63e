"""Index who acted only where somebody did: most lines are written by the product itself."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ('integrations', '0004_one_index_for_each_question'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='heartbeatevent',
            index=models.Index(condition=models.Q(('actor__isnull', False)), fields=['actor'], name='event_by_actor'),
        ),
        migrations.AlterField(
            model_name='heartbeatevent',
            name='actor',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
    ]
