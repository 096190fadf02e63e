-- Who of those who stand at each run's place was never notified of its alert; nobody who opted out of what it is about.
-- Index: the runs' and alerts' primary keys, notification_once by alert, opt_out_once.
SELECT run.id, person.user_id
FROM unnest(%(runs)s::bigint[], %(places)s::integer[]) AS given (run_id, place)
JOIN json_to_recordset(%(people)s::json) AS person (place integer, user_id bigint) ON person.place = given.place
JOIN escalation_escalationrun AS run ON run.id = given.run_id
JOIN alerting_alert AS alert ON alert.id = run.alert_id
WHERE alert.status = 'open'
  AND NOT EXISTS (
    SELECT
    FROM escalation_notification AS notified
    WHERE notified.alert_id = alert.id AND notified.kind IN ('page', 'last_resort')
      AND notified.user_id = person.user_id AND notified.status <> 'superseded'
    -- Asked for each alert by the index: as a join it could read all that was ever sent.
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
