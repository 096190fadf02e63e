-- Start the escalation of each alert on the way given by its number; returns the runs' ids in the alerts' order.
-- Index: none is read.
WITH run AS MATERIALIZED (
    SELECT nextval('escalation_escalationrun_id_seq') AS id, given.*
    FROM unnest(%(alerts)s::bigint[], %(numbers)s::integer[]) WITH ORDINALITY AS given (alert_id, way, number)
),
started AS (
    INSERT INTO escalation_escalationrun (
        id, alert_id, policy_id, play_id, name, version, plan, position, acknowledge_stops, recovery_notice, withheld,
        reopen_after_minutes, step, next_step_at, resting, error
    )
    SELECT run.id, run.alert_id, way.policy_id, way.play_id, way.name, way.version, way.plan, way.position,
        way.acknowledge_stops, way.recovery_notice, way.withheld, way.reopen_after_minutes, way.step,
        way.next_step_at, FALSE, ''
    FROM run
    JOIN json_to_recordset(%(ways)s::json) AS way (
        number integer, policy_id bigint, play_id bigint, name text, version integer, plan jsonb, position jsonb,
        acknowledge_stops boolean, recovery_notice boolean, withheld text[], reopen_after_minutes numeric,
        step integer, next_step_at timestamptz
    ) ON way.number = run.way
)
SELECT id FROM run ORDER BY number
