-- Write the positions of a batch of runs after a step back of the clock, and move their other times back by it.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = moved.position, next_step_at = moved.next_step_at,
    -- a hold ends by the clock
    review_at = CASE WHEN run.review = 'hold_ends' THEN run.review_at ELSE run.review_at - %(by)s::interval END,
    acted_at = run.acted_at - %(by)s::interval, reopened_at = run.reopened_at - %(by)s::interval
FROM json_to_recordset(%(runs)s::json) AS moved (id bigint, position jsonb, next_step_at timestamptz)
WHERE run.id = moved.id
