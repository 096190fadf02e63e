-- Start the escalations of reopened alerts again from the given positions; people notified before do not count as reached.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = moved.position, next_step_at = moved.next_step_at, parked = FALSE, step = moved.step,
    begun_at_step = moved.step, last_resort_at = NULL, review = '', review_at = NULL, error = '',
    reopened_at = COALESCE(moved.reopened_at, run.reopened_at)
FROM json_to_recordset(%(runs)s::json)
    AS moved (id bigint, step integer, position jsonb, next_step_at timestamptz, reopened_at timestamptz)
WHERE run.id = moved.id
