-- Write the new positions of a batch of runs; runs that came to the same position share one, by its number.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = new.position, step = new.step, next_step_at = new.next_step_at, error = ''
FROM unnest(%(ids)s::bigint[], %(numbers)s::integer[]) AS moved (id, number)
JOIN json_to_recordset(%(positions)s::json)
    AS new (number integer, position jsonb, step integer, next_step_at timestamptz) ON new.number = moved.number
WHERE run.id = moved.id
