-- Unpark the runs whose alert is open again: because it was resumed, or escalated by its owner.
-- Index: alert_open or run_parked; the planner starts from the smaller of the two.
WITH reopened AS (
    SELECT run.id
    FROM escalation_escalationrun AS run
    JOIN alerting_alert AS alert ON alert.id = run.alert_id
    WHERE run.parked
      AND alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
    FOR NO KEY UPDATE OF run SKIP LOCKED
)
UPDATE escalation_escalationrun AS run
SET parked = FALSE
FROM reopened
WHERE run.id = reopened.id
