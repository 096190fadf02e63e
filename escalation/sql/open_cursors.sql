-- The positions of escalations whose alerts are open: one row for each position in each plan, with the ids of its runs.
-- Index: alert_open, then the runs' unique key on alert_id.
SELECT alert.organization_id, run.plan::text, jsonb_path_query_array(run.position, '$.cursors[*][0]') AS entered,
    jsonb_path_query_array(run.position, '$.cursors[*][2]') AS in_turn, run.position -> 'retries' AS retries,
    array_agg(run.id)
FROM alerting_alert AS alert
JOIN escalation_escalationrun AS run ON run.alert_id = alert.id
WHERE alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
  AND run.position -> 'stopped' IS NULL
GROUP BY alert.organization_id, run.plan, entered, in_turn, retries
