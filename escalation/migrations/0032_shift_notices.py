
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('escalation', '0031_calendar_incidents'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ShiftNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('before', models.JSONField(help_text='What stood before the first edit; null: nothing about the person.', null=True)),
                ('due_at', models.DateTimeField()),
                ('actor', models.ForeignKey(help_text='Who made the last edit.', on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('out_of_office', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='escalation.outofoffice')),
                ('shift', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='escalation.shift')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['due_at'], name='shift_notice_due')],
                'constraints': [models.UniqueConstraint(fields=('user', 'shift'), name='shift_notice_once'), models.UniqueConstraint(fields=('user', 'out_of_office'), name='cover_notice_once'), models.CheckConstraint(condition=models.Q(models.Q(('out_of_office__isnull', False), ('shift__isnull', True)), models.Q(('out_of_office__isnull', True), ('shift__isnull', False)), _connector='OR'), name='notice_of_a_shift_or_a_cover')],
            },
        ),
    ]
