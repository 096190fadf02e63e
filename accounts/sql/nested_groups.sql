-- Name the groups that lie within some groups, however deep: one row for each group within a group that is reached.
-- Index: nesting_once, on the outer group; UNION ends a circle, should there be one.
WITH RECURSIVE reached (id) AS (
    SELECT unnest(%(ids)s::bigint[])
    UNION
    SELECT nesting.child_id
    FROM accounts_groupnesting AS nesting
    JOIN reached ON reached.id = nesting.group_id
)
SELECT nesting.group_id, nesting.child_id
FROM accounts_groupnesting AS nesting
JOIN reached ON reached.id = nesting.group_id
ORDER BY nesting.position, nesting.id
