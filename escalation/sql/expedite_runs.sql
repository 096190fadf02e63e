-- Write the positions of a batch of runs that go on at once, and unpark them.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = moved.position, next_step_at = moved.next_step_at, parked = FALSE
FROM json_to_recordset(%(runs)s::json) AS moved (id bigint, position jsonb, next_step_at timestamptz)
WHERE run.id = moved.id
