-- The organizations and destinations that have slow sends under way on a channel, in all workers, each with how many more it may have.
-- Index: notification_sending, whose condition names attempts, too. Without a slow send nothing more than that is read.
-- One row for each message, however many notifications travel in it.
WITH under_way AS MATERIALIZED (
    SELECT message_id, min(organization_id) AS organization_id,
        min(COALESCE(lower(substring(address FROM %(host)s)), lower(address))) AS destination,
        bool_or(next_attempt_at <= %(slow_leases)s) AS slow
    FROM escalation_notification
    WHERE channel = %(channel)s AND status = 'sending' AND attempts >= 0 AND next_attempt_at > %(now)s
      AND EXISTS (
        SELECT
        FROM escalation_notification
        WHERE channel = %(channel)s AND status = 'sending' AND attempts >= 0
          AND next_attempt_at > %(now)s AND next_attempt_at <= %(slow_leases)s
      )
    GROUP BY message_id
),
organization AS (
    SELECT organization_id, count(*) AS number
    FROM under_way
    GROUP BY organization_id
    -- With a single organization there is nothing to share.
    HAVING bool_or(slow) AND EXISTS (SELECT FROM accounts_organization OFFSET 1)
)
-- An organization may have as many as it leaves for all others; each further one is taken from what it leaves.
SELECT 'organization', organization_id::text,
    GREATEST(%(shared)s - (SELECT sum(number) FROM organization) - number + 1, 0)::integer / 2
FROM organization
UNION ALL
SELECT 'destination', destination, GREATEST(%(to_one)s - count(*), 0)::integer
FROM under_way
GROUP BY destination
HAVING bool_or(slow)
