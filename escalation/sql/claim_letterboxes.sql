-- Open letterboxes that have something of one urgency due: lease what goes out now, and put the rest off until the letterbox opens again.
-- Index: notification_due_by_urgency finds the letterboxes, notification_for_letterbox what is in them.
WITH oldest AS MATERIALIZED (
    SELECT contact_method_id, kind, next_attempt_at
    FROM escalation_notification
    WHERE channel = %(channel)s AND urgency = %(urgency)s AND next_attempt_at <= %(due_by)s
      AND envelope IS NULL AND kind IN ('page', 'last_resort', 'recovery') AND contact_method_id IS NOT NULL
    ORDER BY next_attempt_at
    LIMIT %(look)s
),
-- Whoever holds a letterbox decides for all that is in it; another worker passes over it.
letterbox AS MATERIALIZED (
    SELECT letterbox.id, letterbox.contact_method_id, letterbox.kind, letterbox.shut_until,
        make_interval(secs => organization.bundle_seconds) AS shut_for
    FROM (SELECT contact_method_id, kind, min(next_attempt_at) AS since FROM oldest GROUP BY 1, 2) AS asked
    JOIN escalation_letterbox AS letterbox
      ON letterbox.contact_method_id = asked.contact_method_id AND letterbox.kind = asked.kind
    JOIN accounts_contactmethod AS method ON method.id = letterbox.contact_method_id
    LEFT JOIN accounts_user AS person ON person.id = method.user_id
    LEFT JOIN accounts_group AS team ON team.id = method.group_id
    JOIN accounts_organization AS organization
      ON organization.id = COALESCE(person.organization_id, team.organization_id)
    WHERE organization.bundle_seconds > 0
    ORDER BY asked.since
    LIMIT %(limit)s
    FOR UPDATE OF letterbox SKIP LOCKED
),
due AS (
    SELECT notification.id, notification.alert_id, notification.run_id, notification.kind, notification.address,
        notification.urgency, notification.next_attempt_at, letterbox.id AS letterbox_id, letterbox.shut_until, letterbox.shut_for
    FROM letterbox
    JOIN escalation_notification AS notification
      ON notification.contact_method_id = letterbox.contact_method_id AND notification.kind = letterbox.kind
    WHERE notification.channel = %(channel)s AND notification.next_attempt_at <= %(due_by)s
      AND notification.envelope IS NULL
    FOR UPDATE OF notification SKIP LOCKED
),
judged AS (
    SELECT due.*,
        CASE
            WHEN due.kind = 'recovery' OR alert.id IS NULL THEN 'sending'
            WHEN alert.status = 'on_hold' THEN 'pending'
            WHEN alert.status <> 'open' THEN 'superseded'
            WHEN due.kind = 'page' AND run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL THEN 'superseded'
            ELSE 'sending'
        END AS status
    FROM due
    LEFT JOIN alerting_alert AS alert ON alert.id = due.alert_id
    LEFT JOIN escalation_escalationrun AS run ON run.id = due.run_id
),
-- Shut much longer than it can have been shut for: the clock was set back, and nobody is to wait for that.
wanted AS (
    SELECT judged.*,
        COALESCE(
            shut_until > %(due_by)s AND shut_until <= %(due_by)s::timestamptz + shut_for + interval '60 seconds', FALSE
        ) AS shut,
        COALESCE(bool_or(next_attempt_at <= shut_until) OVER (PARTITION BY letterbox_id), FALSE) AS had_waited,
        row_number() OVER (PARTITION BY letterbox_id ORDER BY urgency, next_attempt_at, alert_id, id) AS place
    FROM judged
    WHERE status = 'sending'
),
going AS (
    SELECT * FROM wanted WHERE NOT shut AND (had_waited OR place = 1)
),
envelope AS MATERIALIZED (
    SELECT letterbox_id, address, CASE count(*) WHEN 1 THEN (array_agg(id))[1] ELSE gen_random_uuid() END AS id
    FROM going
    GROUP BY letterbox_id, address
),
decided AS (
    SELECT going.id, 'sending' AS status, envelope.id AS envelope, %(lease_ends)s::timestamptz AS next_attempt_at
    FROM going
    JOIN envelope ON envelope.letterbox_id = going.letterbox_id AND envelope.address = going.address
    UNION ALL
    SELECT id, 'pending', NULL, CASE WHEN shut THEN shut_until ELSE %(now)s::timestamptz + shut_for END
    FROM wanted
    WHERE shut OR NOT (had_waited OR place = 1)
    UNION ALL
    SELECT id, status, NULL, CASE status WHEN 'pending' THEN %(look_again)s::timestamptz END
    FROM judged
    WHERE status <> 'sending'
),
shut AS (
    UPDATE escalation_letterbox AS letterbox
    SET shut_until = %(now)s::timestamptz + going.shut_for
    FROM (SELECT DISTINCT letterbox_id, shut_for FROM going) AS going
    WHERE letterbox.id = going.letterbox_id
),
written AS (
    UPDATE escalation_notification AS notification
    SET status = decided.status, envelope = decided.envelope, next_attempt_at = decided.next_attempt_at,
        attempts = notification.attempts + CASE decided.status WHEN 'sending' THEN 1 ELSE 0 END
    FROM decided
    WHERE notification.id = decided.id
    RETURNING notification.id, notification.alert_id, notification.status, notification.envelope, notification.attempts
)
SELECT envelope, (array_agg(id))[1], count(DISTINCT alert_id), max(attempts), FALSE, count(*)
FROM written
WHERE status = 'sending'
GROUP BY envelope
UNION ALL
SELECT NULL, NULL, 0, 0, FALSE, count(*) FROM written WHERE status <> 'sending'
