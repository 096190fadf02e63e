-- Write where a batch of runs has come to: each run's place is given by its number.
-- Index: the runs' primary key; the caller holds their locks.
UPDATE escalation_escalationrun AS run
SET position = place.position, step = place.step, next_step_at = place.next_step_at, error = ''
FROM unnest(%(ids)s::bigint[], %(places)s::integer[]) AS moved (id, place)
JOIN json_to_recordset(%(standings)s::json)
    AS place (number integer, position jsonb, step integer, next_step_at timestamptz) ON place.number = moved.place
WHERE run.id = moved.id
