import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from heartbeat_project.kernel.audit_triggers import AuditTable, part_of

# Trigger arguments: type of the object; part ('' the object itself, '*' further fields of it); columns that are left
# out; the query for the object. See heartbeat_project/kernel/audit_triggers.py.
ROW_CHANGE = r"""
CREATE OR REPLACE FUNCTION audit_row_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    part text := TG_ARGV[1];
    left_out text[] := TG_ARGV[2]::text[] || '{id,organization_id,created_at}'::text[];
    actor jsonb := nullif(current_setting('heartbeat.actor', TRUE), '')::jsonb;
    old_row jsonb;
    new_row jsonb;
    object_id bigint;
    object_name text;
    organization bigint;
    secrets text[];
    old_values jsonb;
    new_values jsonb;
    verb text := 'changed';
BEGIN
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW); END IF;
    EXECUTE TG_ARGV[3] INTO object_id, object_name, organization, secrets USING coalesce(new_row, old_row);
    -- The fields that differ. Foreign keys have the names of the API. Of a secret it is only said that it was changed.
    SELECT jsonb_object_agg(name, old_value), jsonb_object_agg(name, new_value)
    INTO old_values, new_values
    FROM (
        SELECT CASE WHEN key = 'slack_id' THEN key ELSE regexp_replace(key, '_id$', '') END AS name,
            CASE WHEN is_secret AND old_row->>key <> '' THEN '"changed"'::jsonb ELSE old_row->key END AS old_value,
            CASE WHEN is_secret AND new_row->>key <> '' THEN '"changed"'::jsonb ELSE new_row->key END AS new_value
        FROM jsonb_object_keys(coalesce(new_row, old_row)) AS key, LATERAL (SELECT key = ANY (secrets) AS is_secret) AS its
        -- An id is left out since the entry has it, but not if a row was moved to another object.
        WHERE (key <> ALL (left_out) OR TG_OP = 'UPDATE' AND key ~ '(^|_)id$')
            AND (old_row->key) IS DISTINCT FROM (new_row->key)
            AND NOT (is_secret AND TG_OP <> 'UPDATE')
    ) AS fields;
    IF TG_OP = 'UPDATE' AND old_values IS NULL THEN
        RETURN NULL;
    END IF;
    IF part = '' THEN
        verb := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'DELETE' THEN 'deleted' ELSE 'changed' END;
        IF TG_OP = 'INSERT' THEN old_values := NULL; END IF;
        IF TG_OP = 'DELETE' THEN new_values := NULL; END IF;
    ELSIF part <> '*' THEN
        old_values := jsonb_build_object(part, CASE WHEN TG_OP <> 'INSERT' THEN coalesce(old_values, '{}') END);
        new_values := jsonb_build_object(part, CASE WHEN TG_OP <> 'DELETE' THEN coalesce(new_values, '{}') END);
    END IF;
    INSERT INTO accounts_auditentry (organization_id, at, actor_id, actor_name, via, address, object_type, object_id,
        object_name, action, before, after)
    VALUES (
        coalesce(organization, (actor->>'organization')::bigint), statement_timestamp(), (actor->>'user')::bigint,
        coalesce(left(actor->>'name', 200), ''),
        -- Without an actor: a process of ours by itself, or somebody else who changes the database directly.
        coalesce(actor->>'via', CASE WHEN current_setting('application_name') LIKE 'heartbeat%' THEN 'worker' ELSE 'sql' END),
        coalesce(left(actor->>'address', 100), ''), TG_ARGV[0], object_id, coalesce(left(object_name, 300), ''), verb,
        old_values, new_values
    );
    RETURN NULL;
END
$$;
"""
# Deleting needs a setting, and then leaves an entry in each log that became shorter; nothing allows the other two.
APPEND_ONLY = """
CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('heartbeat.audit_retention', TRUE) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only: % is refused.', TG_OP
        USING HINT = 'manage.py delete_old_audit_entries deletes old entries, and notes it in the log.';
END
$$;
CREATE OR REPLACE FUNCTION audit_log_was_shortened() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    actor jsonb := nullif(current_setting('heartbeat.actor', TRUE), '')::jsonb;
BEGIN
    INSERT INTO accounts_auditentry (organization_id, at, actor_id, actor_name, via, address, object_type, object_id,
        object_name, action, before, after)
    SELECT organization_id, statement_timestamp(), (actor->>'user')::bigint, coalesce(left(actor->>'name', 200), ''),
        coalesce(actor->>'via', 'sql'), coalesce(left(actor->>'address', 100), ''), 'audit_log', NULL, '', 'deleted',
        jsonb_build_object('entries', count(*), 'first_at', min(at), 'last_at', max(at)), NULL
    FROM removed GROUP BY organization_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_shortened AFTER DELETE ON accounts_auditentry REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_was_shortened();
"""
NOT_APPEND_ONLY = """
DROP TRIGGER audit_shortened ON accounts_auditentry;
DROP TRIGGER audit_append_only ON accounts_auditentry;
DROP FUNCTION audit_log_was_shortened();
DROP FUNCTION audit_log_is_append_only();
"""
ORGANIZATION = "SELECT ($1->>'id')::bigint, $1->>'name', ($1->>'id')::bigint, '{}'::text[]"
USER = "SELECT ($1->>'id')::bigint, $1->>'name', ($1->>'organization_id')::bigint, '{password}'::text[]"
# Addresses that are URLs or the subscriptions of browsers hold secrets.
CONTACT_METHOD = """
SELECT ($1->>'id')::bigint, concat_ws(' of ', $1->>'label', coalesce(person.name, team.name)),
    coalesce(person.organization_id, team.organization_id),
    CASE WHEN $1->>'kind' IN ('email', 'sms', 'voice') THEN '{}' ELSE '{address}' END::text[]
FROM (SELECT) AS one LEFT JOIN accounts_user AS person ON person.id = ($1->>'user_id')::bigint
LEFT JOIN accounts_group AS team ON team.id = ($1->>'group_id')::bigint
"""
API_KEY = """
SELECT ($1->>'id')::bigint, concat_ws(' of ', $1->>'name', person.name), person.organization_id, '{key_hash}'::text[]
FROM (SELECT) AS one LEFT JOIN accounts_user AS person ON person.id = ($1->>'user_id')::bigint
"""
# What a contact method or a key notes by itself while it is used.
NOTED_BY_ITSELF = (
    *("code_digest", "code_expires_at", "code_tries", "tested_at", "send_error", "failing_since", "failing_reason"),
    *("failures", "failed_at", "owner_notified_at", "managers_notified_at"),
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), help_text="By the database's clock."
                    ),
                ),
                (
                    "actor_name",
                    models.CharField(blank=True, help_text="The name that the actor had then.", max_length=200),
                ),
                (
                    "via",
                    models.CharField(
                        help_text="Over what: page, rest, key, command, worker or sql, for example.", max_length=10
                    ),
                ),
                (
                    "address",
                    models.CharField(
                        blank=True, help_text="The network address of the actor, if there is one.", max_length=100
                    ),
                ),
                ("object_type", models.CharField(max_length=30)),
                ("object_id", models.BigIntegerField(null=True)),
                (
                    "object_name",
                    models.CharField(blank=True, help_text="The name that the object had then.", max_length=300),
                ),
                ("action", models.CharField(max_length=20)),
                (
                    "before",
                    models.JSONField(
                        help_text="The changed fields before the change; null for a new object.", null=True
                    ),
                ),
                (
                    "after",
                    models.JSONField(help_text="The same fields after it; null for a deleted object.", null=True),
                ),
                (
                    "actor",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="Null: nobody was signed in, as on the command line; or the database was changed directly.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-at", "-id"],
                "indexes": [
                    models.Index(fields=["organization", "-at", "-id"], name="audit_by_time"),
                    models.Index(
                        fields=["organization", "object_type", "object_id", "-at", "-id"], name="audit_by_object"
                    ),
                    models.Index(fields=["organization", "actor", "-at", "-id"], name="audit_by_actor"),
                ],
            },
        ),
        migrations.RunSQL(sql=ROW_CHANGE, reverse_sql="DROP FUNCTION audit_row_change()"),
        migrations.RunSQL(sql=APPEND_ONLY, reverse_sql=NOT_APPEND_ONLY),
        AuditTable("accounts_organization", "organization", found_by=ORGANIZATION),
        AuditTable("accounts_role", "role"),
        AuditTable("accounts_user", "user", found_by=USER, left_out=("last_login", "session_round")),
        AuditTable(
            "accounts_user_roles",
            "user",
            found_by=part_of("accounts_user", "user_id"),
            part="roles",
            left_out=("user_id",),
        ),
        AuditTable(
            "accounts_optout",
            "user",
            found_by=part_of("accounts_user", "user_id"),
            part="opt_outs",
            left_out=("user_id",),
        ),
        AuditTable("accounts_group", "group"),
        AuditTable(
            "accounts_groupmember",
            "group",
            found_by=part_of("accounts_group", "group_id"),
            part="members",
            left_out=("group_id",),
        ),
        AuditTable(
            "accounts_groupnesting",
            "group",
            found_by=part_of("accounts_group", "group_id"),
            part="groups",
            left_out=("group_id",),
        ),
        AuditTable("accounts_contactmethod", "contact_method", found_by=CONTACT_METHOD, left_out=NOTED_BY_ITSELF),
        AuditTable("accounts_apikey", "api_key", found_by=API_KEY, left_out=("last_used_at",)),
    ]
