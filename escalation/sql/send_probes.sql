-- Make one waiting retry due for each provider that failed and has not been asked for a pause: it probes whether the provider is back.
-- Index: notification_due_by_priority. A provider with a retry that is due or being sent already gets no second one.
WITH failing AS MATERIALIZED (
    SELECT provider, channel, address, failed_at
    FROM escalation_circuitbreaker
    WHERE channel <> '' AND COALESCE(open_until, failed_at + %(pause)s::interval) <= %(now)s
      -- Retries come more often than this: nothing waits for a provider whose last failure is longer ago.
      AND failed_at > %(forget)s
),
-- What takes all messages of a channel, and what takes those to one address. A provider of SMS may take calls, too.
whole AS (
    SELECT provider, failed_at, taken.channel
    FROM failing
    CROSS JOIN LATERAL (
        SELECT failing.channel
        UNION
        SELECT unnest(%(phones)s::text[]) WHERE failing.channel = ANY (%(phones)s::text[])
    ) AS taken (channel)
    WHERE address = ''
),
-- Urgency 3 to 5 are the levels of retries. Each is read once, however many providers there are.
waiting AS MATERIALIZED (
    SELECT notification.id, notification.channel, notification.address, notification.status, notification.next_attempt_at
    FROM escalation_notification AS notification
    LEFT JOIN alerting_alert AS alert ON alert.id = notification.alert_id
    WHERE notification.channel = ANY (ARRAY(SELECT channel FROM whole UNION SELECT channel FROM failing))
      AND notification.urgency IN (3, 4, 5) AND notification.priority_rank IN (0, 1, 2, 3, 4)
      AND notification.next_attempt_at IS NOT NULL
      -- What waits for the end of a hold, or is not needed any more, would not be sent.
      AND (
        alert.id IS NULL OR alert.status = 'open' OR notification.asked_for
        OR notification.kind IN ('recovery', 'notice', 'assignment', 'reminder')
      )
      -- To a phone only what no provider has got yet: few tries may go there in an hour.
      AND (
        notification.status = 'sending' OR notification.attempts = 0 OR NOT notification.channel = ANY (%(phones)s::text[])
      )
),
retried AS (
    SELECT DISTINCT ON (provider) id, status, next_attempt_at, failed_at
    FROM (
        SELECT whole.provider, whole.failed_at, waiting.id, waiting.status, waiting.next_attempt_at
        FROM whole
        JOIN waiting ON waiting.channel = whole.channel
        UNION ALL
        SELECT failing.provider, failing.failed_at, waiting.id, waiting.status, waiting.next_attempt_at
        FROM failing
        JOIN waiting ON waiting.channel = failing.channel AND waiting.address = failing.address
        WHERE failing.address <> ''
    ) AS pair
    ORDER BY provider, status = 'sending' DESC, next_attempt_at
),
probe AS (
    SELECT id
    FROM retried
    WHERE status = 'pending' AND next_attempt_at > %(now)s
    -- Those that were probed have failed since, and come last: all get their turn.
    ORDER BY failed_at
    LIMIT %(limit)s
)
UPDATE escalation_notification AS notification
SET next_attempt_at = %(now)s
FROM (SELECT id FROM probe ORDER BY id) AS probe
WHERE notification.id = probe.id AND notification.status = 'pending'
