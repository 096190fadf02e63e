-- The runs that have notified, since they last began, none of the people who still count for their plan.
-- Index: the runs' primary key, notification_once by alert.
SELECT run.id
FROM unnest(%(runs)s::bigint[], %(plans)s::integer[]) AS run_plan (run_id, plan)
JOIN escalation_escalationrun AS run ON run.id = run_plan.run_id
LEFT JOIN (
    SELECT plan, array_agg(user_id) AS user_ids
    FROM json_to_recordset(%(people)s::json) AS person (plan integer, user_id bigint)
    GROUP BY plan
) AS people ON people.plan = run_plan.plan
WHERE NOT EXISTS (
    SELECT
    FROM escalation_notification AS page
    WHERE page.alert_id = run.alert_id AND page.kind = 'page' AND page.step > run.begun_at_step
      AND page.user_id = ANY (people.user_ids) AND page.status <> 'failed'
      AND (page.in_time OR page.status IN ('accepted', 'delivered'))
    -- OFFSET 0 keeps this a look-up in the index for each alert: as a join it could read all notifications.
    OFFSET 0
)
ORDER BY run.id
