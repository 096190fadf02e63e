"""A position names who had their turn in a stage, where it named who still waited for it."""

from django.db import migrations

# Nobody has the id 0: in walks that stand within a stage in turn, everybody of it gets a turn once more.
SQL = """
UPDATE escalation_escalationrun
SET position = jsonb_set(
    position,
    '{places}',
    (
        SELECT jsonb_agg(
            CASE WHEN place -> 2 = '[]' THEN place ELSE jsonb_set(place, '{2}', '[0]') END ORDER BY number
        )
        FROM jsonb_array_elements(position -> 'places') WITH ORDINALITY AS one (place, number)
    )
)
WHERE jsonb_path_exists(position, '$.places[*][2][0]')
"""


class Migration(migrations.Migration):
    dependencies = [("escalation", "0020_fewer_keys")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
