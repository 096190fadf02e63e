-- Lock the runs that are due and whose alert still wants them, longest overdue first, passing over those another engine holds.
-- Index: run_due, the partial index on next_step_at over runs that do not rest; then the alerts' primary key.
SELECT run.id
FROM escalation_escalationrun AS run
JOIN alerting_alert AS alert ON alert.id = run.alert_id
WHERE run.next_step_at <= %(now)s AND NOT run.resting
  AND alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
ORDER BY run.next_step_at, run.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF run SKIP LOCKED
