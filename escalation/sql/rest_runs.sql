-- Put due runs whose alert does not want them out of the tick's way: they rest, or have ended where the alert is final.
-- Index: run_due; each run is met here once for each time its alert stops being open, not at every tick.
WITH stopped AS (
    SELECT run.id, alert.status IN ('closed', 'cancelled') AS final
    FROM escalation_escalationrun AS run
    JOIN alerting_alert AS alert ON alert.id = run.alert_id
    WHERE run.next_step_at <= %(now)s AND NOT run.resting
      AND (alert.status <> 'open' OR (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL))
    ORDER BY run.next_step_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF run SKIP LOCKED
)
UPDATE escalation_escalationrun AS run
SET resting = NOT stopped.final, next_step_at = CASE WHEN stopped.final THEN NULL ELSE run.next_step_at END
FROM stopped
WHERE run.id = stopped.id
