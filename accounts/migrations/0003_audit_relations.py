from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditRelation, part_of

# Rows (jsonb) as entries show them: without what is left out, in the order of their positions; a row of one column is
# its value. `more` is a query for further fields of a row, which is $1 in it.
ROWS = r"""
CREATE OR REPLACE FUNCTION audit_rows(rows jsonb, left_out text[], more text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    shown_rows jsonb;
BEGIN
    EXECUTE format(
        $query$
            SELECT coalesce(jsonb_agg(shown ORDER BY place, id), '[]')
            FROM (
                SELECT (item->>'position')::integer AS place, (item->>'id')::bigint AS id, (
                    SELECT CASE count(*) WHEN 1 THEN jsonb_agg(value)->0
                        ELSE jsonb_object_agg(regexp_replace(key, '_id$', ''), value) END
                    FROM jsonb_each(item || coalesce((%s), '{}'::jsonb)) WHERE key <> ALL ($2)
                ) AS shown
                FROM jsonb_array_elements($1) AS items (item)
            ) AS shown_rows
        $query$,
        replace(more, '$1', 'item')
    ) INTO shown_rows USING rows, left_out;
    RETURN shown_rows;
END
$$;
"""
# Trigger arguments: those of audit_row_change; the condition for the rows of the object; `more` of audit_rows.
RELATION_CHANGE = r"""
CREATE OR REPLACE FUNCTION audit_relation_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    left_out text[] := TG_ARGV[2]::text[] || '{id,organization_id,created_at}'::text[];
    actor jsonb := nullif(current_setting('heartbeat.actor', TRUE), '')::jsonb;
    changed_rows text[] := '{}';
    change record;
    new_rows jsonb;
    old_rows jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        changed_rows := array_append(changed_rows, 'SELECT TRUE, to_jsonb(audit_old) FROM audit_old');
    END IF;
    IF TG_OP <> 'DELETE' THEN
        changed_rows := array_append(changed_rows, 'SELECT FALSE, to_jsonb(audit_new) FROM audit_new');
    END IF;
    -- One entry for each object whose rows the statement changed.
    FOR change IN EXECUTE format(
        $query$
            SELECT object_id, object_name, organization,
                coalesce(jsonb_agg(item) FILTER (WHERE is_old), '[]') AS removed,
                coalesce(array_agg((item->>'id')::bigint) FILTER (WHERE NOT is_old), '{}') AS added
            FROM (%s) AS changed (is_old, item)
            CROSS JOIN LATERAL (%s) AS found (object_id, object_name, organization, secrets)
            GROUP BY object_id, object_name, organization
        $query$,
        array_to_string(changed_rows, ' UNION ALL '), replace(TG_ARGV[3], '$1', 'changed.item')
    )
    LOOP
        EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(its)), ''[]'') FROM %s AS its WHERE %s', TG_RELID::regclass, TG_ARGV[4])
        INTO new_rows USING change.object_id;
        SELECT change.removed || coalesce(jsonb_agg(item), '[]') INTO old_rows
        FROM jsonb_array_elements(new_rows) AS items (item) WHERE (item->>'id')::bigint <> ALL (change.added);
        old_rows := audit_rows(old_rows, left_out, TG_ARGV[5]);
        new_rows := audit_rows(new_rows, left_out, TG_ARGV[5]);
        CONTINUE WHEN old_rows = new_rows;
        INSERT INTO accounts_auditentry (organization_id, at, actor_id, actor_name, via, address, object_type, object_id,
            object_name, action, before, after)
        VALUES (
            coalesce(change.organization, (actor->>'organization')::bigint), statement_timestamp(),
            (actor->>'user')::bigint, coalesce(left(actor->>'name', 200), ''),
            coalesce(actor->>'via', CASE WHEN current_setting('application_name') LIKE 'heartbeat%' THEN 'worker' ELSE 'sql' END),
            coalesce(left(actor->>'address', 100), ''), TG_ARGV[0], change.object_id,
            coalesce(left(change.object_name, 300), ''), 'changed',
            jsonb_build_object(TG_ARGV[1], old_rows), jsonb_build_object(TG_ARGV[1], new_rows)
        );
    END LOOP;
    RETURN NULL;
END
$$;
"""
NO_FUNCTIONS = """
DROP FUNCTION audit_relation_change();
DROP FUNCTION audit_rows(jsonb, text[], text);
"""


def relation(table: str, object_type: str, column: str, *, part: str) -> AuditRelation:
    """Return the operation for a relation of users or groups."""
    return AuditRelation(
        table,
        object_type,
        found_by=part_of(f"accounts_{object_type}", column),
        part=part,
        left_out=(column,),
        rows_of=f"{column} = $1",
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_audit_log")]

    operations = [
        migrations.RunSQL(sql=ROWS + RELATION_CHANGE, reverse_sql=NO_FUNCTIONS),
        relation("accounts_user_roles", "user", "user_id", part="roles"),
        relation("accounts_optout", "user", "user_id", part="opt_outs"),
        relation("accounts_groupmember", "group", "group_id", part="members"),
        relation("accounts_groupnesting", "group", "group_id", part="groups"),
    ]
