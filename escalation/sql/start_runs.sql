-- Insert the runs of these alerts, each by the route with its number; returns the runs' ids in the order of the alerts.
-- Index: none, no table is read.
WITH run AS MATERIALIZED (
    -- The ids are drawn here, because INSERT ... RETURNING promises no order.
    SELECT nextval('escalation_escalationrun_id_seq') AS id, alert_route.*
    FROM unnest(%(alerts)s::bigint[], %(numbers)s::integer[]) WITH ORDINALITY AS alert_route (alert_id, route, number)
),
started AS (
    INSERT INTO escalation_escalationrun (
        id, alert_id, policy_id, play_id, name, version, plan, position, acknowledge_stops, recovery_notice, disabled_actions,
        reopen_after_minutes, step, next_step_at, parked, error
    )
    SELECT run.id, run.alert_id, route.policy_id, route.play_id, route.name, route.version, route.plan, route.position,
        route.acknowledge_stops, route.recovery_notice, route.disabled_actions, route.reopen_after_minutes, route.step,
        route.next_step_at, FALSE, ''
    FROM run
    JOIN json_to_recordset(%(routes)s::json) AS route (
        number integer, policy_id bigint, play_id bigint, name text, version integer, plan jsonb, position jsonb,
        acknowledge_stops boolean, recovery_notice boolean, disabled_actions text[], reopen_after_minutes numeric,
        step integer, next_step_at timestamptz
    ) ON route.number = run.route
)
SELECT id FROM run ORDER BY number
