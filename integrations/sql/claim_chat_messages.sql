-- Lease the oldest due message of each of some integrations; of a thread only the first that is not done, so that their order stays.
-- Index: chat_message_due, also for those before it in its thread: it has only what is not done.
WITH due AS MATERIALIZED (
    SELECT id, integration_id, thread_id
    FROM integrations_chatmessage
    WHERE next_attempt_at <= %(now)s
    ORDER BY next_attempt_at
    LIMIT %(look_at)s
),
first AS MATERIALIZED (
    SELECT DISTINCT ON (due.integration_id) due.id
    FROM due
    WHERE NOT EXISTS (
        SELECT FROM integrations_chatmessage AS earlier
        WHERE earlier.thread_id = due.thread_id AND earlier.id < due.id AND earlier.next_attempt_at IS NOT NULL
    )
    ORDER BY due.integration_id, due.id
),
claimed AS (
    SELECT message.id
    FROM integrations_chatmessage AS message
    WHERE message.id IN (SELECT id FROM first) AND message.next_attempt_at <= %(now)s
    ORDER BY message.id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE integrations_chatmessage AS message
SET next_attempt_at = %(lease_ends)s, attempts = LEAST(message.attempts, 32766) + 1
FROM claimed
WHERE message.id = claimed.id
RETURNING message.id
