-- What the escalations of open alerts follow that have notified somebody and wait for an answer: one row for each plan, with its runs.
-- Index: alert_open, then the runs' unique key on alert_id.
SELECT run.plan::text, array_agg(run.id)
FROM alerting_alert AS alert
JOIN escalation_escalationrun AS run ON run.alert_id = alert.id
WHERE alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
  -- Since it began, or began anew, somebody was to be notified; what is due at once goes on by itself.
  AND run.step > run.begun_at_step AND run.position -> 'stopped' IS NULL
  AND (run.next_step_at > %(now)s OR (run.next_step_at IS NULL AND run.last_resort_at IS NULL))
GROUP BY run.plan
