-- Make retries due now on channels, or at addresses, that work again; each notification at most once in a pause.
-- Index: notification_failing. Rows are locked in id order; rows that another worker holds are skipped.
WITH waiting AS (
    SELECT notification.id
    FROM unnest(%(channels)s::text[], %(addresses)s::text[], %(pauses)s::interval[])
        AS destination (channel, address, pause)
    JOIN escalation_notification AS notification ON notification.channel = destination.channel
    WHERE notification.failing_since IS NOT NULL AND notification.next_attempt_at > %(now)s
      AND notification.status = 'pending' AND notification.limited_since IS NULL
      AND (destination.address = '' OR notification.address = destination.address)
      AND (
        -- A time in the future comes from before the clock was set back.
        notification.expedited_at IS NULL OR notification.expedited_at > %(now)s
        OR notification.expedited_at + destination.pause <= %(now)s
      )
      -- At most three tries in an hour go to a phone, this one included: see the pauses of its channel.
      AND (
        NOT notification.channel = ANY (%(phones)s::text[]) OR notification.attempts <= 2
        OR notification.failing_since + destination.pause <= %(now)s
      )
    ORDER BY notification.id
    LIMIT %(limit)s
    FOR UPDATE OF notification SKIP LOCKED
)
UPDATE escalation_notification AS notification
SET next_attempt_at = %(now)s, expedited_at = %(now)s
FROM waiting
WHERE notification.id = waiting.id
