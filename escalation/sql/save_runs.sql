-- Write where a batch of runs has come to.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = moved.position, step = moved.step, next_step_at = moved.next_step_at, error = ''
FROM unnest(%(ids)s::bigint[], %(positions)s::jsonb[], %(steps)s::integer[], %(next)s::timestamptz[])
     AS moved (id, position, step, next_step_at)
WHERE run.id = moved.id
