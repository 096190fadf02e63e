import accounts.models.organizations
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('email', models.EmailField(help_text='Stored in lower case.', max_length=254, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('kind', models.CharField(choices=[('standard', 'Standard'), ('stakeholder', 'Stakeholder (receives, cannot respond)')], default='standard', max_length=12)),
                ('time_zone', models.CharField(default='UTC', max_length=64, validators=[accounts.models.organizations.check_time_zone])),
                ('is_active', models.BooleanField(default=True)),
                ('is_owner', models.BooleanField(default=False, help_text="Whether the user is the organization's one Owner.")),
                ('slack_id', models.CharField(blank=True, db_default='', default='', help_text='Buttons that this member presses in Slack act for the user. In Slack: your profile, then “Copy member ID”.', max_length=24, verbose_name='Slack member ID')),
                ('shift_notices', models.BooleanField(db_default=True, default=True, help_text='Whether they are notified when somebody puts them on a shift or makes them a cover.')),
                ('recovery_notices', models.BooleanField(db_default=True, default=True, help_text='Whether they are notified when the signal of an alert comes back that they were notified of.')),
                ('session_round', models.PositiveSmallIntegerField(db_default=0, default=0, editable=False, help_text='The number of deactivations; each ends all sessions.')),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Group',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('prefix', models.CharField(help_text='The first characters of the key.', max_length=12)),
                ('key_hash', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField()),
                ('last_used_at', models.DateTimeField(blank=True, help_text='Rounded down to the minute.', null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='GroupNesting',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('child', models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='accounts.group')),
                ('group', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='nestings', to='accounts.group')),
            ],
            options={
                'ordering': ['position', 'id'],
            },
        ),
        migrations.AddField(
            model_name='group',
            name='groups',
            field=models.ManyToManyField(blank=True, help_text='Groups whose members belong to this group, too, in the same roles.', related_name='within', through='accounts.GroupNesting', through_fields=('group', 'child'), to='accounts.group'),
        ),
        migrations.CreateModel(
            name='InstallationKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64)),
                ('since', models.DateTimeField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(models.Value(1), name='one_installation_key')],
            },
        ),
        migrations.CreateModel(
            name='OptOut',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('integration_id', models.BigIntegerField(help_text='The integration; it may be deleted.')),
                ('created_at', models.DateTimeField()),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='opt_outs', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Organization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('time_zone', models.CharField(default='UTC', max_length=64, validators=[accounts.models.organizations.check_time_zone])),
                ('bundle_seconds', models.PositiveSmallIntegerField(db_default=5, default=5, help_text='If several alerts go to one person, the first is sent at once, and those of the following seconds are sent together in one message. 0 sends every alert by itself.', verbose_name='bundle for (seconds)')),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('bundle_seconds__lte', 600)), name='bundle_within_minutes')],
            },
        ),
        migrations.AddField(
            model_name='group',
            name='organization',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='groups', to='accounts.organization'),
        ),
        migrations.AddField(
            model_name='user',
            name='organization',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='users', to='accounts.organization'),
        ),
        migrations.CreateModel(
            name='Restore',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('taken_at', models.DateTimeField(help_text='When the backup was made. It holds nothing of later.')),
                ('restored_at', models.DateTimeField()),
                ('released_at', models.DateTimeField(null=True)),
                ('released_by', models.ForeignKey(help_text='Empty if it was released from the command line.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Role',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('builtin', models.CharField(blank=True, choices=[('Owner', 'Owner'), ('App Admin', 'App Admin'), ('Integrations Admin', 'Integrations Admin'), ('Basic', 'Basic'), ('Billing Admin', 'Billing Admin'), ('Send Message', 'Send Message'), ('System Viewer', 'System Viewer')], help_text='Which of the seven built-in roles this is; empty for a custom role.', max_length=30)),
                ('entitlements', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('InboundIntegrations_GlobalAccess', 'InboundIntegrations_GlobalAccess'), ('OutboundIntegrations_GlobalAccess', 'OutboundIntegrations_GlobalAccess'), ('Message_Rule_View', 'Message_Rule_View'), ('Message_Rule_Update', 'Message_Rule_Update'), ('Groups_View_GlobalAccess', 'Groups_View_GlobalAccess'), ('Groups_Add_GlobalAccess', 'Groups_Add_GlobalAccess'), ('Groups_Update_GlobalAccess', 'Groups_Update_GlobalAccess'), ('Groups_View_GroupAccess', 'Groups_View_GroupAccess'), ('Groups_Update_GroupAccess', 'Groups_Update_GroupAccess'), ('Messages_Send_GlobalAccess', 'Messages_Send_GlobalAccess'), ('Messages_View_GlobalAccess', 'Messages_View_GlobalAccess'), ('Messages_View_GroupAccess', 'Messages_View_GroupAccess'), ('Messages_View_UserAccess', 'Messages_View_UserAccess'), ('Bridge_Maintenance', 'Bridge_Maintenance'), ('AuditTrail_View', 'AuditTrail_View'), ('SecurityAdministration_Global_Access', 'SecurityAdministration_Global_Access'), ('BillingAdministration_Global_Access', 'BillingAdministration_Global_Access'), ('Users_View_UserAccess', 'Users_View_UserAccess'), ('User_Update_UserAccess', 'User_Update_UserAccess'), ('Users_Notifications_Update_UserAccess', 'Users_Notifications_Update_UserAccess')], max_length=60), default=list, size=None)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='roles', to='accounts.organization')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddField(
            model_name='user',
            name='roles',
            field=models.ManyToManyField(blank=True, related_name='users', to='accounts.role'),
        ),
        migrations.CreateModel(
            name='TryCount',
            fields=[
                ('key', models.CharField(help_text='A digest; the person or action behind it is not stored.', max_length=64, primary_key=True, serialize=False)),
                ('tries', models.IntegerField()),
                ('until', models.DateTimeField(help_text='The end of the window; after it, counting starts again.')),
            ],
            options={
                'indexes': [models.Index(fields=['until'], name='try_count_age')],
            },
        ),
        migrations.CreateModel(
            name='ContactMethod',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('email', 'E-mail'), ('sms', 'SMS'), ('voice', 'Call'), ('push', 'Push'), ('chat', 'Chat'), ('webhook', 'Webhook'), ('apprise', 'Apprise')], default='email', max_length=10)),
                ('label', models.CharField(help_text='For example Email-Official or SMS-Personal.', max_length=40)),
                ('address', models.CharField(help_text='E-mail address, phone number (E.164), URL, or the push subscription of a browser (JSON).', max_length=2000)),
                ('position', models.PositiveSmallIntegerField(default=0, help_text='Order of use; lowest first.')),
                ('enabled', models.BooleanField(default=True)),
                ('delay_minutes', models.DecimalField(decimal_places=1, default=0, help_text='Minutes after a step reaches the person until this method is used.', max_digits=6)),
                ('repeat_count', models.PositiveSmallIntegerField(db_default=0, default=0, help_text='How many more times it is used in one step.')),
                ('repeat_gap_minutes', models.DecimalField(db_default=5, decimal_places=1, default=5, help_text='Minutes between those times.', max_digits=6)),
                ('windows', models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list, help_text="When it is used, in the person's time zone, as accounts.windows reads it; empty: at any time.")),
                ('from_priority', models.CharField(choices=[('critical', 'Critical'), ('high', 'High'), ('medium', 'Medium'), ('low', 'Low'), ('none', 'None')], db_default='none', default='none', help_text='It is used for alerts of this priority and above; None: for every alert.', max_length=10)),
                ('critical_outside_windows', models.BooleanField(db_default=False, default=False, help_text='Whether Critical alerts are sent over it outside its windows, too.')),
                ('verified_at', models.DateTimeField(blank=True, help_text='Unverified methods are not used.', null=True)),
                ('code_digest', models.CharField(blank=True, help_text='SHA-256 of the code last sent.', max_length=64)),
                ('code_expires_at', models.DateTimeField(blank=True, null=True)),
                ('code_tries', models.PositiveSmallIntegerField(default=0)),
                ('tested_at', models.DateTimeField(blank=True, help_text='When a test message was last requested.', null=True)),
                ('send_error', models.TextField(blank=True, db_default='', default='', help_text='Why the last code or test message could not be sent.')),
                ('failing_since', models.DateTimeField(blank=True, help_text='Since when its address has been refused. Until it works again, it is used after the others and nobody counts as reached by it.', null=True)),
                ('failing_reason', models.TextField(blank=True, db_default='', default='', help_text='The reason of the last refusal.')),
                ('failures', models.PositiveSmallIntegerField(db_default=0, default=0, help_text='How many messages in a row were refused.')),
                ('failed_at', models.DateTimeField(blank=True, help_text='When the last of them was refused.', null=True)),
                ('stopped_at', models.DateTimeField(blank=True, help_text='When its owner sent STOP; no SMS arrives until they send START.', null=True)),
                ('owner_notified_at', models.DateTimeField(blank=True, help_text='When its owner was last notified that it fails, or had no other method.', null=True)),
                ('managers_notified_at', models.DateTimeField(blank=True, help_text='When the Managers were last notified that it fails.', null=True)),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='contact_methods', to=settings.AUTH_USER_MODEL)),
                ('group', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='contact_methods', to='accounts.group')),
            ],
            options={
                'ordering': ['position', 'id'],
                'indexes': [models.Index(condition=models.Q(('failed_at__isnull', False)), fields=['kind', 'failed_at'], name='contact_failed_lately'), django.contrib.postgres.indexes.HashIndex(condition=models.Q(('kind', 'push')), fields=['address'], name='contact_by_subscription'), django.contrib.postgres.indexes.HashIndex(condition=models.Q(('kind', 'sms')), fields=['address'], name='contact_by_number')],
                'constraints': [models.UniqueConstraint(models.F('user'), django.db.models.functions.text.Lower('label'), name='contact_label_once'), models.UniqueConstraint(models.F('group'), django.db.models.functions.text.Lower('label'), condition=models.Q(('group__isnull', False)), name='group_contact_label_once'), models.CheckConstraint(condition=models.Q(models.Q(('group__isnull', True), ('user__isnull', False)), models.Q(('group__isnull', False), ('kind__in', ['email', 'chat', 'webhook']), ('user__isnull', True)), _connector='OR'), name='contact_of_a_person_or_shared'), models.CheckConstraint(condition=models.Q(models.Q(('label', 'Email-Official'), _negated=True), models.Q(('enabled', True), ('kind', 'email'), ('verified_at__isnull', False)), _connector='OR'), name='email_official_always_usable'), models.CheckConstraint(condition=models.Q(models.Q(('label', 'Email-Official'), _negated=True), ('windows', models.Value([], models.JSONField())), _connector='OR'), name='email_official_at_any_time'), models.CheckConstraint(condition=models.Q(models.Q(('label', 'Email-Official'), _negated=True), ('from_priority', 'none'), _connector='OR'), name='email_official_at_any_priority')],
            },
        ),
        migrations.CreateModel(
            name='GroupMember',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('primary', 'Primary'), ('secondary', 'Secondary'), ('manager', 'Manager')], default='primary', max_length=10)),
                ('position', models.PositiveSmallIntegerField(default=0, help_text='Order within the role; lowest first.')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='members', to='accounts.group')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['position', 'id'],
                'constraints': [models.UniqueConstraint(fields=('group', 'user', 'role'), name='member_once_per_role')],
            },
        ),
        migrations.AddConstraint(
            model_name='groupnesting',
            constraint=models.UniqueConstraint(fields=('group', 'child'), name='nesting_once'),
        ),
        migrations.AddConstraint(
            model_name='groupnesting',
            constraint=models.CheckConstraint(condition=models.Q(('group', models.F('child')), _negated=True), name='nesting_not_in_itself'),
        ),
        migrations.AddConstraint(
            model_name='optout',
            constraint=models.UniqueConstraint(fields=('integration_id', 'user'), name='opt_out_once'),
        ),
        migrations.AddConstraint(
            model_name='group',
            constraint=models.UniqueConstraint(models.F('organization'), django.db.models.functions.text.Lower('name'), name='group_name_unique'),
        ),
        migrations.AddConstraint(
            model_name='restore',
            constraint=models.UniqueConstraint(models.Value(1), condition=models.Q(('released_at', None)), name='one_restore_is_held'),
        ),
        migrations.AddConstraint(
            model_name='role',
            constraint=models.UniqueConstraint(models.F('organization'), django.db.models.functions.text.Lower('name'), name='role_name_unique'),
        ),
        migrations.AddConstraint(
            model_name='role',
            constraint=models.UniqueConstraint(condition=models.Q(('builtin', ''), _negated=True), fields=('organization', 'builtin'), name='role_builtin_once'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.UniqueConstraint(condition=models.Q(('is_owner', True)), fields=('organization',), name='one_owner'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('email', django.db.models.functions.text.Lower('email'))), name='email_lower_case'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.UniqueConstraint(condition=models.Q(('slack_id', ''), _negated=True), fields=('organization', 'slack_id'), name='slack_id_once'),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('is_owner', False), ('is_active', True), _connector='OR'), name='owner_is_active'),
        ),
    ]
