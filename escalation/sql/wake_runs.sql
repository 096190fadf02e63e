-- Let resting runs go on whose alert is open again: resumed, or escalated by its owner.
-- Index: alert_open and run_resting; it costs the smaller of the two.
WITH wanted AS (
    SELECT run.id
    FROM escalation_escalationrun AS run
    JOIN alerting_alert AS alert ON alert.id = run.alert_id
    WHERE run.resting
      AND alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
    FOR NO KEY UPDATE OF run SKIP LOCKED
)
UPDATE escalation_escalationrun AS run
SET resting = FALSE
FROM wanted
WHERE run.id = wanted.id
