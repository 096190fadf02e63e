-- Record the outcomes of messages on each of their notifications whose lease is still the caller's, with a timeline entry.
-- Index: notification_by_message. Rows are locked in id order, so that two callers never deadlock.
WITH outcome AS (
    SELECT *
    FROM unnest(
        %(message_ids)s::uuid[], %(leases)s::timestamptz[], %(statuses)s::text[], %(next)s::timestamptz[],
        %(provider_ids)s::text[], %(errors)s::text[], %(tried)s::boolean[], %(uncertain)s::boolean[],
        %(timeline_kinds)s::text[], %(lines)s::text[], %(limited)s::boolean[], %(failing)s::boolean[]
    ) AS outcome (
        message_id, lease, status, next_attempt_at, provider_id, error, tried, uncertain, timeline_kind, line, limited, failing
    )
),
-- The lease is compared, because another worker may have claimed the message after it ended: then this outcome is dropped.
leased AS (
    SELECT notification.id, outcome.*,
        outcome.limited AND notification.limited_since + %(too_long)s::interval <= %(now)s::timestamptz
            AND notification.last_error <> %(held)s AND notification.failing_since IS NULL AS overdue,
        (outcome.failing OR outcome.status = 'failed') AND notification.failing_since IS NULL AS began_to_fail,
        outcome.status = 'failed' AND notification.in_time AS counted
    FROM outcome
    JOIN escalation_notification AS notification ON notification.message_id = outcome.message_id
    WHERE notification.status = 'sending' AND notification.next_attempt_at = outcome.lease
    ORDER BY notification.id
    FOR UPDATE OF notification
),
written AS (
    UPDATE escalation_notification AS notification
    SET status = leased.status,
        -- Due again at the latest when it has been held back for too long, so that the escalation can go on without it.
        next_attempt_at = CASE
            WHEN leased.limited AND COALESCE(notification.limited_since, %(now)s) + %(too_long)s::interval > %(now)s::timestamptz
                THEN LEAST(
                    leased.next_attempt_at, COALESCE(notification.limited_since, %(now)s) + %(too_long)s::interval
                )
            ELSE leased.next_attempt_at
        END,
        accepted_at = CASE leased.status WHEN 'accepted' THEN %(now)s::timestamptz END,
        possibly_sent_at = CASE
            WHEN leased.uncertain THEN %(now)s::timestamptz
            -- This try surely did not arrive; an earlier one with an unknown outcome may have.
            WHEN notification.unknown_outcomes > 0 THEN notification.possibly_sent_at
        END,
        -- The levels of retries come after those of all first tries: see RETRIED.
        urgency = notification.urgency + CASE WHEN leased.failing AND notification.urgency < 3 THEN 3 ELSE 0 END,
        attempts = notification.attempts - CASE WHEN leased.tried THEN 0 ELSE 1 END,
        unknown_outcomes = notification.unknown_outcomes + CASE WHEN leased.uncertain THEN 1 ELSE 0 END,
        message_id = CASE
            -- A notification that was never tried leaves its message, to travel with all that the limit holds back.
            WHEN leased.limited AND notification.attempts <= 1 THEN NULL
            -- A message that surely did not arrive may be bundled anew. One that may have arrived keeps its id, by which the
            -- receiver recognizes the copy.
            WHEN leased.failing AND NOT leased.uncertain AND notification.unknown_outcomes = 0 THEN NULL
            ELSE notification.message_id
        END,
        limited_since = CASE
            WHEN leased.limited THEN COALESCE(notification.limited_since, %(now)s::timestamptz)
            -- It waits for a retry now, and no longer for a limit.
            WHEN leased.status = 'pending' AND (leased.tried OR leased.failing) THEN NULL
            ELSE notification.limited_since
        END,
        failing_since = CASE
            WHEN leased.status = 'accepted' THEN NULL
            WHEN leased.failing THEN COALESCE(notification.failing_since, %(now)s::timestamptz)
            ELSE notification.failing_since
        END,
        in_time = notification.in_time AND NOT COALESCE(leased.overdue, FALSE),
        provider_id = leased.provider_id,
        last_error = CASE
            WHEN leased.overdue THEN %(held)s
            -- There was no try, so the error of the last one stays.
            WHEN leased.limited OR (leased.status = 'pending' AND leased.error = '') THEN notification.last_error
            ELSE leased.error
        END
    FROM leased
    WHERE notification.id = leased.id
    RETURNING notification.id, leased.message_id, notification.alert_id, leased.timeline_kind, leased.line, leased.limited,
        leased.failing, leased.began_to_fail, leased.counted, notification.limited_since, COALESCE(leased.overdue, FALSE) AS overdue
),
logged AS (
    INSERT INTO alerting_timelineentry (alert_id, at, kind, text)
    SELECT alert_id, %(now)s::timestamptz, timeline_kind, line
    FROM written
    WHERE line <> '' AND alert_id IS NOT NULL
      -- A limit or a failure is logged once, when it begins.
      AND (NOT limited OR limited_since = %(now)s) AND (NOT failing OR began_to_fail)
)
SELECT message_id, array_agg(id), array_agg(id) FILTER (WHERE overdue), array_agg(id) FILTER (WHERE began_to_fail OR counted)
FROM written
GROUP BY message_id
