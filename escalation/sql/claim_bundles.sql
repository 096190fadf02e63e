-- Lease the messages of bundle windows with due notifications of one urgency; postpone the rest until the window opens again.
-- Index: notification_due_by_priority finds the bundle windows, notification_for_bundle_window the notifications in them.
-- A window that is open lets out one notification and closes. What comes while it is closed goes out together when it opens.
WITH oldest AS MATERIALIZED (
    SELECT due.*, priority.rank
    FROM (VALUES (0), (1), (2), (3), (4)) AS priority (rank)
    CROSS JOIN LATERAL (
        SELECT contact_method_id, kind, next_attempt_at, limited_since, failing_since, organization_id,
            COALESCE(lower(substring(address FROM %(host)s)), lower(address)) AS destination
        FROM escalation_notification
        WHERE channel = %(channel)s AND urgency = %(urgency)s AND priority_rank = priority.rank
          AND next_attempt_at <= %(due_by)s
          AND message_id IS NULL AND kind <> 'notice' AND contact_method_id IS NOT NULL
          AND organization_id <> ALL (%(full_organizations)s::bigint[])
          AND (
            %(full_destinations)s::text[] = '{}'
            OR COALESCE(lower(substring(address FROM %(host)s)), lower(address)) <> ALL (%(full_destinations)s::text[])
          )
        ORDER BY next_attempt_at
        LIMIT %(look)s
    ) AS due
),
requested AS (
    SELECT contact_method_id, kind, min(rank) AS rank, min(COALESCE(limited_since, next_attempt_at)) AS since,
        bool_or(limited_since IS NOT NULL) AS limited, bool_or(failing_since IS NOT NULL) AS failing,
        row_number() OVER (
            PARTITION BY min(organization_id)
            ORDER BY min(rank), min(COALESCE(limited_since, next_attempt_at)), contact_method_id, kind
        ) AS organization_number,
        row_number() OVER (
            PARTITION BY min(destination)
            ORDER BY min(rank), min(COALESCE(limited_since, next_attempt_at)), contact_method_id, kind
        ) AS destination_number,
        min(organization_id) AS organization_id, min(destination) AS destination
    FROM oldest
    GROUP BY contact_method_id, kind
),
-- The worker that locks a bundle window decides for all notifications in it; other workers skip the window. Without this
-- lock two workers would share out its notifications, and send two messages.
bundle_window AS MATERIALIZED (
    SELECT bundle_window.id, bundle_window.contact_method_id, bundle_window.kind, bundle_window.closed_until,
        requested.limited, requested.failing, make_interval(secs => organization.bundle_seconds) AS closed_for
    FROM requested
    JOIN escalation_bundlewindow AS bundle_window
      ON bundle_window.contact_method_id = requested.contact_method_id AND bundle_window.kind = requested.kind
    JOIN accounts_contactmethod AS method ON method.id = bundle_window.contact_method_id
    LEFT JOIN accounts_user AS person ON person.id = method.user_id
    LEFT JOIN accounts_group AS team ON team.id = method.group_id
    JOIN accounts_organization AS organization
      ON organization.id = COALESCE(person.organization_id, team.organization_id)
    LEFT JOIN unnest(%(organizations)s::bigint[], %(organization_rooms)s::integer[])
        AS organization_share (organization_id, room) ON organization_share.organization_id = requested.organization_id
    LEFT JOIN unnest(%(destinations)s::text[], %(destination_rooms)s::integer[])
        AS destination_share (destination, room) ON destination_share.destination = requested.destination
    -- Without bundling only what a limit held back, or what failed, goes out together; claim_messages has the rest.
    WHERE (organization.bundle_seconds > 0 OR requested.limited OR requested.failing)
      -- What has a slow send under way gets no more than its room, as in claim_messages.
      AND requested.organization_number <= COALESCE(organization_share.room, %(limit)s)
      AND requested.destination_number <= COALESCE(destination_share.room, %(limit)s)
    ORDER BY requested.rank, requested.since
    LIMIT %(limit)s
    FOR UPDATE OF bundle_window SKIP LOCKED
),
due AS (
    SELECT notification.id, notification.alert_id, notification.run_id, notification.kind, notification.asked_for,
        notification.address, notification.user_id, notification.created_at, notification.urgency,
        notification.priority_rank, notification.limited_since, notification.failing_since, notification.next_attempt_at,
        bundle_window.id AS bundle_window_id, bundle_window.closed_until, bundle_window.closed_for
    FROM bundle_window
    JOIN escalation_notification AS notification
      ON notification.contact_method_id = bundle_window.contact_method_id AND notification.kind = bundle_window.kind
    WHERE notification.channel = %(channel)s AND notification.next_attempt_at <= %(due_by)s
      AND notification.message_id IS NULL
      AND (
        bundle_window.closed_for > interval '0' OR notification.limited_since IS NOT NULL
        OR notification.failing_since IS NOT NULL
      )
    FOR UPDATE OF notification SKIP LOCKED
),
-- Notifications that are not due yet, and travel with the due ones. One message uses a rate limit once, so it takes all that
-- the limit holds back. After failures one message tries for all that failed; not to phones, where tries are counted.
companion AS (
    SELECT notification.id, notification.alert_id, notification.run_id, notification.kind, notification.asked_for,
        notification.address, notification.user_id, notification.created_at, notification.urgency,
        notification.priority_rank, notification.limited_since, notification.failing_since, notification.next_attempt_at,
        bundle_window.id AS bundle_window_id, bundle_window.closed_until, bundle_window.closed_for
    FROM bundle_window
    JOIN escalation_notification AS notification
      ON notification.contact_method_id = bundle_window.contact_method_id AND notification.kind = bundle_window.kind
    -- This condition is on the window alone and comes first: of other windows no notification is read.
    WHERE (bundle_window.limited OR bundle_window.failing)
      AND notification.channel = %(channel)s AND notification.next_attempt_at > %(due_by)s
      AND notification.message_id IS NULL AND notification.status = 'pending'
      AND (
        (bundle_window.limited AND notification.limited_since IS NOT NULL)
        OR (bundle_window.failing AND notification.failing_since IS NOT NULL AND NOT %(is_phone)s)
      )
    FOR UPDATE OF notification SKIP LOCKED
),
-- The same decisions as in claim_messages, with the reasons there.
judged AS (
    SELECT due.*,
        CASE
            WHEN due.kind = 'recovery' OR alert.id IS NULL THEN 'sending'
            WHEN due.kind IN ('assignment', 'reminder') AND (
                run.acted_at > due.created_at OR COALESCE(alert.owner_id, due.user_id) <> due.user_id
                OR (alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL))
                OR alert.status IN ('closed', 'cancelled')
            ) THEN 'superseded'
            WHEN due.kind IN ('assignment', 'reminder') THEN 'sending'
            WHEN due.asked_for AND alert.status IN ('assigned', 'on_hold') THEN 'sending'
            WHEN alert.status = 'on_hold' THEN 'pending'
            WHEN alert.status <> 'open' THEN 'superseded'
            WHEN due.kind = 'page' AND NOT due.asked_for AND run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL
                THEN 'superseded'
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
    FROM (SELECT * FROM due UNION ALL SELECT * FROM companion) AS due
    LEFT JOIN alerting_alert AS alert ON alert.id = due.alert_id
    LEFT JOIN escalation_escalationrun AS run ON run.id = due.run_id
),
-- `closed`: the window is closed now. A time further ahead than a window stays closed comes from before the clock was set
-- back, and does not count. `had_waited`: notifications came while the window was closed, so that all go out together.
sendable AS (
    SELECT judged.*,
        COALESCE(
            closed_until > %(due_by)s AND closed_until <= %(due_by)s::timestamptz + closed_for + interval '60 seconds', FALSE
        ) AS closed,
        COALESCE(
            bool_or(next_attempt_at <= closed_until OR limited_since IS NOT NULL OR failing_since IS NOT NULL)
                OVER (PARTITION BY bundle_window_id),
            FALSE
        ) AS had_waited,
        row_number() OVER (
            PARTITION BY bundle_window_id ORDER BY urgency, priority_rank, next_attempt_at, alert_id, id
        ) AS window_rank
    FROM judged
    WHERE status = 'sending'
),
outgoing AS (
    SELECT * FROM sendable WHERE NOT closed AND (had_waited OR window_rank = 1)
),
message AS MATERIALIZED (
    SELECT bundle_window_id, address, failing_since IS NOT NULL AS failing,
        -- A single notification keeps its own id; a bundle gets a new one.
        CASE count(*) WHEN 1 THEN (array_agg(id))[1] ELSE gen_random_uuid() END AS id
    FROM outgoing
    -- Retries travel apart from first tries: if they fail again, the first tries are not delayed with them.
    GROUP BY bundle_window_id, address, failing_since IS NOT NULL
),
decided AS (
    SELECT outgoing.id, 'sending' AS status, message.id AS message_id, %(lease_ends)s::timestamptz AS next_attempt_at
    FROM outgoing
    JOIN message ON message.bundle_window_id = outgoing.bundle_window_id AND message.address = outgoing.address
      AND message.failing = (outgoing.failing_since IS NOT NULL)
    UNION ALL
    -- These wait for the window: it is closed now, or closes with this claim.
    SELECT id, 'pending', NULL, CASE WHEN closed THEN closed_until ELSE %(now)s::timestamptz + closed_for END
    FROM sendable
    WHERE closed OR NOT (had_waited OR window_rank = 1)
    UNION ALL
    -- These are on hold, or not needed any more.
    SELECT id, status, NULL, CASE status WHEN 'pending' THEN %(look_again)s::timestamptz END
    FROM judged
    WHERE status <> 'sending'
),
closed AS (
    UPDATE escalation_bundlewindow AS bundle_window
    SET closed_until = %(now)s::timestamptz + outgoing.closed_for
    FROM (SELECT DISTINCT bundle_window_id, closed_for FROM outgoing) AS outgoing
    WHERE bundle_window.id = outgoing.bundle_window_id
),
written AS (
    UPDATE escalation_notification AS notification
    SET status = decided.status, message_id = decided.message_id, next_attempt_at = decided.next_attempt_at,
        -- A smallint holds no more; a message may be tried for months.
        attempts = LEAST(notification.attempts, 32766) + CASE decided.status WHEN 'sending' THEN 1 ELSE 0 END,
        possibly_sent_at = CASE decided.status WHEN 'sending' THEN %(now)s::timestamptz END
    FROM decided
    WHERE notification.id = decided.id
    RETURNING notification.id, notification.alert_id, notification.status, notification.message_id, notification.attempts,
        notification.created_at, notification.priority_rank, notification.limited_since
)
-- One row for each message, with its first notification; FALSE: none was lost. The last row counts what does not go out.
SELECT message_id, (array_agg(id ORDER BY priority_rank, created_at))[1], count(DISTINCT alert_id), max(attempts), FALSE,
    min(created_at), min(limited_since), count(*)
FROM written
WHERE status = 'sending'
GROUP BY message_id
UNION ALL
SELECT NULL, NULL, 0, 0, FALSE, NULL, NULL, count(*) FROM written WHERE status <> 'sending'
