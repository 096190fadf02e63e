-- The plans of escalations that have notified somebody and wait for an answer: one row for each plan, with its runs' ids.
-- Index: alert_open, then the runs' unique key on alert_id.
SELECT run.plan::text, array_agg(run.id)
FROM alerting_alert AS alert
JOIN escalation_escalationrun AS run ON run.alert_id = alert.id
WHERE alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
  -- A step has notified people since the run began, or began anew; runs that are due go on by themselves.
  AND run.step > run.begun_at_step AND run.position -> 'stopped' IS NULL
  AND (run.next_step_at > %(now)s OR (run.next_step_at IS NULL AND run.last_resort_at IS NULL))
GROUP BY run.plan
