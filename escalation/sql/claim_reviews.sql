-- Lock the runs whose review is due, longest due first; skip alerts that a person is acting on just now.
-- Index: run_review, the partial index on review_at; then the alerts' primary key.
SELECT run.id
FROM escalation_escalationrun AS run
JOIN alerting_alert AS alert ON alert.id = run.alert_id
WHERE run.review_at <= %(now)s
ORDER BY run.review_at, run.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF alert, run SKIP LOCKED
