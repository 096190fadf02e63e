-- Lock the runs of taken alerts that are to be looked at, longest due first, passing over what somebody is acting on.
-- Index: run_review, the partial index on review_at; then the alerts' primary key.
SELECT run.id
FROM escalation_escalationrun AS run
JOIN alerting_alert AS alert ON alert.id = run.alert_id
WHERE run.review_at <= %(now)s
ORDER BY run.review_at, run.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF alert, run SKIP LOCKED
