-- The people at each run's position who were never notified of its alert and did not opt out of its integration.
-- Index: the runs' and alerts' primary keys, notification_once and timeline_by_alert by alert, opt_out_once.
SELECT run.id, person.user_id
FROM unnest(%(runs)s::bigint[], %(batches)s::integer[]) AS run_batch (run_id, batch)
JOIN json_to_recordset(%(people)s::json) AS person (batch integer, user_id bigint) ON person.batch = run_batch.batch
JOIN escalation_escalationrun AS run ON run.id = run_batch.run_id
JOIN alerting_alert AS alert ON alert.id = run.alert_id
WHERE alert.status = 'open'
  AND NOT EXISTS (
    SELECT
    FROM escalation_notification AS notified
    WHERE notified.alert_id = alert.id AND notified.kind IN ('page', 'last_resort', 'assignment', 'reminder')
      AND notified.user_id = person.user_id AND notified.status <> 'superseded'
    -- OFFSET 0 keeps this a look-up in the index for each alert: as a join it could read all notifications.
    OFFSET 0
  )
  -- People who acknowledged know of the alert, even if their own message was superseded.
  AND NOT EXISTS (
    SELECT
    FROM alerting_timelineentry AS entry
    WHERE entry.alert_id = alert.id AND entry.kind = 'acknowledged' AND entry.actor_id = person.user_id
    OFFSET 0
  )
  AND NOT EXISTS (
    SELECT
    FROM accounts_optout AS unwilling
    WHERE unwilling.integration_id = alert.integration_id AND unwilling.user_id = person.user_id
    OFFSET 0
  )
ORDER BY run.id, person.user_id
LIMIT %(limit)s
