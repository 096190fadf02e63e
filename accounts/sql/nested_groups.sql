-- Name the groups that lie within some groups, however deep: one row for each group within a group that is reached.
-- Index: nesting_once, on the outer group; UNION ends a circle, should there be one.
WITH RECURSIVE reached AS (
    SELECT nesting.id, nesting.group_id, nesting.child_id, nesting.position
    FROM accounts_groupnesting AS nesting
    WHERE nesting.group_id = ANY(%(ids)s::bigint[])
    UNION
    SELECT nesting.id, nesting.group_id, nesting.child_id, nesting.position
    FROM accounts_groupnesting AS nesting
    JOIN reached ON reached.child_id = nesting.group_id
)
SELECT group_id, child_id
FROM reached
ORDER BY position, id
