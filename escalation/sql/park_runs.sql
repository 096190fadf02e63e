-- Park due runs whose alert is not open, so that the tick's index scan skips them; end those whose alert is closed or cancelled.
-- Index: run_due; each run is met here once for each time its alert stops being open, not at every tick.
WITH stopped AS (
    SELECT run.id, alert.status IN ('closed', 'cancelled') AS final
    FROM escalation_escalationrun AS run
    JOIN alerting_alert AS alert ON alert.id = run.alert_id
    WHERE run.next_step_at <= %(now)s AND NOT run.parked
      AND (alert.status <> 'open' OR (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL))
    ORDER BY run.next_step_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF run SKIP LOCKED
)
UPDATE escalation_escalationrun AS run
SET parked = NOT stopped.final, next_step_at = CASE WHEN stopped.final THEN NULL ELSE run.next_step_at END
FROM stopped
WHERE run.id = stopped.id
