-- Supersede unsent messages about these alerts, and write recovery notices to the people and shared contacts that were notified.
-- Index: notification_once, by alert; bundle_window_once. Rows are locked in id order, so that two callers never deadlock.
WITH unsent AS (
    SELECT id
    FROM escalation_notification
    WHERE alert_id = ANY(%(ids)s::bigint[]) AND kind IN ('page', 'last_resort', 'assignment', 'reminder')
      AND status = 'pending'
    ORDER BY id
    FOR UPDATE
),
superseded AS (
    UPDATE escalation_notification AS notification
    SET status = 'superseded', next_attempt_at = NULL
    FROM unsent
    WHERE notification.id = unsent.id
),
-- Only runs whose policy has recovery notices. With a centralized stage the policy chooses the contact methods.
ended AS MATERIALIZED (
    SELECT id, alert_id, plan @? '$.tracks[*].stages[*] ? (@.centralized == true)' AS centralized
    FROM escalation_escalationrun
    WHERE alert_id = ANY(%(ids)s::bigint[]) AND recovery_notice
),
tried AS MATERIALIZED (
    SELECT tried.organization_id, tried.alert_id, ended.id AS run_id, tried.user_id, tried.group_id,
        tried.contact_method_id, tried.channel, tried.label, tried.address, tried.status, tried.priority_rank, ended.centralized,
        -- A message that is being sent may still fail: the notice waits for its outcome (settle_recoveries) or for the end
        -- of the lease.
        CASE tried.status
            WHEN 'sending' THEN GREATEST(tried.next_attempt_at, %(now)s::timestamptz)
            WHEN 'failed' THEN NULL
            ELSE %(now)s::timestamptz
        END AS notice_at
    FROM ended
    JOIN escalation_notification AS tried ON tried.alert_id = ended.alert_id
    WHERE tried.alert_id = ANY(%(ids)s::bigint[]) AND tried.kind IN ('page', 'last_resort', 'assignment', 'reminder')
      AND (
        tried.status IN ('sending', 'accepted', 'delivered', 'failed')
        -- It waits for a retry, but an earlier try may have arrived.
        OR (tried.status = 'pending' AND tried.unknown_outcomes > 0)
      )
),
used AS (
    SELECT contact_method_id, bool_or(status <> 'failed') AS worked
    FROM tried
    WHERE user_id IS NOT NULL AND contact_method_id IS NOT NULL
    GROUP BY contact_method_id
),
notified AS (
    SELECT organization_id, alert_id, run_id, user_id, min(priority_rank) AS priority_rank, min(notice_at) AS notice_at
    FROM tried
    WHERE user_id IS NOT NULL AND status <> 'failed'
    GROUP BY organization_id, alert_id, run_id, user_id
),
person AS (
    SELECT user_id, bool_and(centralized) AS centralized, min(priority_rank) AS priority_rank
    FROM tried
    WHERE user_id IS NOT NULL AND status <> 'failed'
    GROUP BY user_id
),
-- See escalation.notifications.notices.recovery_methods. If only centralized policies notified the person, the methods that these
-- used are chosen; otherwise the methods that the person uses for this priority.
candidate AS (
    SELECT method.*, used.worked,
        method.works AND CASE WHEN person.centralized THEN COALESCE(used.worked, FALSE)
            ELSE method.own AND method.least >= person.priority_rank END AS chosen
    FROM person
    JOIN json_to_recordset(%(methods)s::json) AS method (
        user_id bigint, id bigint, channel text, label text, address text, loudness integer, position integer, own boolean,
        least integer, works boolean, official boolean
    ) ON method.user_id = person.user_id
    LEFT JOIN used ON used.contact_method_id = method.id
),
-- One method for all these alerts, so that they come in one message. A method that has just failed comes after the others.
method AS (
    SELECT DISTINCT ON (user_id) user_id, id, channel, label, address
    FROM candidate
    WHERE chosen OR official
    ORDER BY user_id, chosen DESC, worked IS FALSE, loudness, worked DESC NULLS LAST, position
),
shared AS (
    SELECT DISTINCT ON (alert_id, contact_method_id) *
    FROM tried
    WHERE group_id IS NOT NULL AND contact_method_id IS NOT NULL AND status <> 'failed'
    ORDER BY alert_id, contact_method_id, notice_at
),
notice AS (
    SELECT notified.organization_id, notified.alert_id, notified.run_id, notified.user_id, NULL::bigint AS group_id,
        method.id AS contact_method_id, method.channel, method.label, method.address, notified.priority_rank,
        notified.notice_at
    FROM notified
    JOIN method ON method.user_id = notified.user_id
    WHERE NOT EXISTS (
        SELECT
        FROM escalation_notification AS earlier
        WHERE earlier.alert_id = notified.alert_id AND earlier.kind = 'recovery' AND earlier.user_id = notified.user_id
    )
    UNION ALL
    SELECT organization_id, alert_id, run_id, NULL, group_id, contact_method_id, channel, label, address, priority_rank,
        notice_at
    FROM shared
),
-- A recovery can wait for a few seconds: its bundle window is closed from the first notice on, so that all recoveries within
-- that time go out in one message.
bundle_window AS (
    INSERT INTO escalation_bundlewindow AS bundle_window (contact_method_id, kind, closed_until)
    SELECT DISTINCT notice.contact_method_id, 'recovery',
        %(now)s::timestamptz + make_interval(secs => organization.bundle_seconds)
    FROM notice
    JOIN accounts_organization AS organization ON organization.id = notice.organization_id
    WHERE organization.bundle_seconds > 0
    ORDER BY notice.contact_method_id
    ON CONFLICT (contact_method_id, kind) DO UPDATE
    -- A window that is closed for longer than it can be comes from before the clock was set back: see claim_bundles.
    SET closed_until = CASE
        WHEN bundle_window.closed_until > %(now)s::timestamptz
            AND bundle_window.closed_until <= EXCLUDED.closed_until + interval '60 seconds' THEN bundle_window.closed_until
        ELSE EXCLUDED.closed_until
    END
    RETURNING contact_method_id, closed_until
)
INSERT INTO escalation_notification (
    id, organization_id, alert_id, run_id, kind, user_id, group_id, contact_method_id, channel, label, address,
    step, retry, urgency, priority_rank, subject, text, status, attempts, created_at, next_attempt_at, provider_id, last_error
)
SELECT gen_random_uuid(), notice.organization_id, notice.alert_id, notice.run_id, 'recovery', notice.user_id,
    notice.group_id, notice.contact_method_id, notice.channel, notice.label, notice.address, 0, 0, %(urgency)s,
    notice.priority_rank, '', '', 'pending', 0, %(now)s, GREATEST(notice.notice_at, bundle_window.closed_until), '', ''
FROM notice
LEFT JOIN bundle_window ON bundle_window.contact_method_id = notice.contact_method_id
ON CONFLICT DO NOTHING
