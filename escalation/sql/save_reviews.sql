-- Write when alerts that people acted on are reviewed next.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET acted_at = moved.acted_at, review = moved.review, review_at = moved.review_at, step = moved.step, error = ''
FROM json_to_recordset(%(runs)s::json)
    AS moved (id bigint, acted_at timestamptz, review text, review_at timestamptz, step integer)
WHERE run.id = moved.id
