-- Lock the due runs of open alerts that are not stopped by an acknowledgement, longest overdue first; skip rows that are locked.
-- Index: run_due, the partial index on next_step_at over runs that are not parked; then the alerts' primary key.
SELECT run.id
FROM escalation_escalationrun AS run
JOIN alerting_alert AS alert ON alert.id = run.alert_id
-- Joins the alert's status: an escalation stops when its alert is taken or closed, without a message that could get lost.
WHERE run.next_step_at <= %(now)s AND NOT run.parked
  AND alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
ORDER BY run.next_step_at, run.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF run SKIP LOCKED
