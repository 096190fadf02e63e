-- Write where a batch of runs goes on at once, resting or not.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = moved.position, next_step_at = moved.next_step_at, resting = FALSE
FROM unnest(%(ids)s::bigint[], %(positions)s::jsonb[], %(next)s::timestamptz[]) AS moved (id, position, next_step_at)
WHERE run.id = moved.id
