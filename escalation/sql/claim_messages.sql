-- Lease due messages of one urgency on a channel that wait for no bundle window: single ones, and bundles that are sent again.
-- Index: notification_due_by_priority, then notification_by_message for the notifications of one message.
WITH candidate AS (
    SELECT due.*, priority.rank,
        row_number() OVER (
            PARTITION BY due.organization_id
            ORDER BY priority.rank, COALESCE(due.limited_since, due.next_attempt_at), due.created_at, due.alert_id, due.id
        ) AS organization_number,
        row_number() OVER (
            PARTITION BY due.destination
            ORDER BY priority.rank, COALESCE(due.limited_since, due.next_attempt_at), due.created_at, due.alert_id, due.id
        ) AS destination_number
    -- Each priority by itself: the index then returns the rows in order of their time, and rows that are not due are not read.
    FROM (VALUES (0), (1), (2), (3), (4)) AS priority (rank)
    CROSS JOIN LATERAL (
        SELECT notification.id, notification.message_id, notification.alert_id, notification.created_at,
            notification.next_attempt_at, notification.limited_since, notification.organization_id,
            COALESCE(lower(substring(notification.address FROM %(host)s)), lower(notification.address)) AS destination
        FROM escalation_notification AS notification
        JOIN accounts_organization AS organization ON organization.id = notification.organization_id
        WHERE notification.channel = %(channel)s AND notification.urgency = %(urgency)s
          AND notification.priority_rank = priority.rank AND notification.next_attempt_at <= %(due_by)s
          AND (
            notification.message_id IS NOT NULL OR notification.kind = 'notice'
            OR notification.contact_method_id IS NULL
            -- Notifications that a limit held back, or that failed, go out together even without bundling: see claim_bundles.
            OR (organization.bundle_seconds = 0 AND notification.limited_since IS NULL AND notification.failing_since IS NULL)
          )
          AND notification.organization_id <> ALL (%(full_organizations)s::bigint[])
          AND (
            %(full_destinations)s::text[] = '{}'
            OR COALESCE(lower(substring(notification.address FROM %(host)s)), lower(notification.address)) <> ALL (%(full_destinations)s::text[])
          )
        ORDER BY notification.next_attempt_at
        LIMIT %(look_alone)s
    ) AS due
),
-- What has a slow send under way gets no more than its room; everybody else has none, and gets what the worker can send.
oldest AS MATERIALIZED (
    SELECT candidate.id, candidate.message_id
    FROM candidate
    LEFT JOIN unnest(%(organizations)s::bigint[], %(organization_rooms)s::integer[])
        AS organization_share (organization_id, room) USING (organization_id)
    LEFT JOIN unnest(%(destinations)s::text[], %(destination_rooms)s::integer[])
        AS destination_share (destination, room) USING (destination)
    WHERE organization_number <= COALESCE(organization_share.room, %(limit)s)
      AND destination_number <= COALESCE(destination_share.room, %(limit)s)
    ORDER BY candidate.rank, COALESCE(candidate.limited_since, candidate.next_attempt_at), candidate.created_at, candidate.alert_id
    LIMIT %(limit)s
),
-- One worker takes all notifications of a message. Row locks alone would share them out among workers that claim at once, and
-- each would send its part; the advisory lock is on the message id.
locked_message AS MATERIALIZED (
    SELECT id
    FROM (SELECT DISTINCT COALESCE(message_id, id) AS id FROM oldest) AS message
    WHERE pg_try_advisory_xact_lock(hashtextextended(id::text, 0))
),
member AS (
    SELECT oldest.id, locked_message.id AS message_id
    FROM locked_message
    JOIN oldest ON oldest.id = locked_message.id
    WHERE oldest.message_id IS NULL
    UNION ALL
    SELECT notification.id, locked_message.id
    FROM locked_message
    JOIN escalation_notification AS notification ON notification.message_id = locked_message.id
    -- All that wait in it, also if only one of them is due: the message goes out once, and not in parts under the same id.
    WHERE notification.next_attempt_at <= %(due_by)s OR notification.status = 'pending'
),
-- `lost`: its lease has ended without an outcome, so that it may have arrived.
due AS (
    SELECT notification.id, notification.alert_id, notification.run_id, notification.kind, notification.asked_for,
        notification.user_id, notification.created_at, notification.priority_rank, notification.limited_since,
        member.message_id, notification.status = 'sending' AS lost
    FROM member
    JOIN escalation_notification AS notification ON notification.id = member.id
    -- Checked again on the locked row: another worker may have claimed it since the first look.
    WHERE notification.next_attempt_at <= %(due_by)s OR notification.status = 'pending' AND notification.message_id IS NOT NULL
    ORDER BY notification.id
    FOR UPDATE OF notification
),
-- 'sending': it goes out now; 'pending': its alert is on hold, look again later; 'superseded': its alert needs it no more.
judged AS (
    SELECT due.id, due.message_id, due.lost, due.created_at, due.priority_rank, due.limited_since,
        CASE
            WHEN due.kind IN ('recovery', 'notice') OR alert.id IS NULL THEN 'sending'
            -- A message to the owner of the alert is not needed if an answer came meanwhile, from them or a later owner.
            WHEN due.kind IN ('assignment', 'reminder') AND (
                run.acted_at > due.created_at OR COALESCE(alert.owner_id, due.user_id) <> due.user_id
                OR (alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL))
                OR alert.status IN ('closed', 'cancelled')
            ) THEN 'superseded'
            WHEN due.kind IN ('assignment', 'reminder') THEN 'sending'
            WHEN due.asked_for AND alert.status IN ('assigned', 'on_hold') THEN 'sending'
            -- A lost SMS or call is never sent again: it goes on to the send, which only records that it failed.
            WHEN alert.status = 'on_hold' AND due.lost AND %(is_phone)s THEN 'sending'
            WHEN alert.status = 'on_hold' THEN 'pending'
            WHEN alert.status <> 'open' THEN 'superseded'
            WHEN due.kind = 'page' AND NOT due.asked_for AND run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL
                THEN 'superseded'
            -- The reader has acknowledged since this was written, and did not take it back. Pages to others go on.
            WHEN due.kind IN ('page', 'last_resort') AND alert.acknowledged_at IS NOT NULL AND EXISTS (
                SELECT
                FROM alerting_timelineentry AS entry
                WHERE entry.alert_id = alert.id AND entry.at >= due.created_at
                  AND entry.kind = 'acknowledged' AND entry.actor_id = due.user_id
                  AND NOT EXISTS (
                    SELECT
                    FROM alerting_timelineentry AS later
                    WHERE later.alert_id = alert.id AND later.id > entry.id AND later.kind = 'unacknowledged'
                  )
            ) THEN 'superseded'
            ELSE 'sending'
        END AS status
    FROM due
    LEFT JOIN alerting_alert AS alert ON alert.id = due.alert_id
    LEFT JOIN escalation_escalationrun AS run ON run.id = due.run_id
),
written AS (
    UPDATE escalation_notification AS notification
    SET status = judged.status,
        -- A notification of an alert on hold leaves its bundle, and waits alone.
        message_id = CASE judged.status
            WHEN 'sending' THEN judged.message_id
            WHEN 'superseded' THEN notification.message_id
        END,
        next_attempt_at = CASE judged.status
            WHEN 'sending' THEN %(lease_ends)s::timestamptz
            WHEN 'pending' THEN %(look_again)s::timestamptz
        END,
        -- A smallint holds no more; a message may be tried for months.
        attempts = LEAST(notification.attempts, 32766) + CASE judged.status WHEN 'sending' THEN 1 ELSE 0 END,
        -- The worker that had the lease was lost: the outcome of its try is unknown.
        unknown_outcomes = notification.unknown_outcomes + CASE WHEN judged.lost AND judged.status = 'sending' THEN 1 ELSE 0 END,
        possibly_sent_at = CASE judged.status WHEN 'sending' THEN %(now)s::timestamptz END
    FROM judged
    WHERE notification.id = judged.id
    RETURNING notification.id, notification.alert_id, notification.status, notification.message_id, notification.attempts,
        judged.lost, judged.created_at, judged.priority_rank, judged.limited_since
)
-- One row for each message, with its first notification. The last row counts what does not go out.
SELECT message_id, (array_agg(id ORDER BY priority_rank, created_at))[1], count(DISTINCT alert_id), max(attempts),
    bool_or(lost), min(created_at), min(limited_since), count(*)
FROM written
WHERE status = 'sending'
GROUP BY message_id
UNION ALL
SELECT NULL, NULL, 0, 0, FALSE, NULL, NULL, count(*) FROM written WHERE status <> 'sending'
