-- List the nestings below some groups at any depth: one row (outer group, inner group) for each.
-- Index: nesting_once, on the outer group. UNION drops rows that were found before, so a circle would end, too.
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
