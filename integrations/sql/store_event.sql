-- Store an event with its turn, unless its message, its organization (NULL: none) or the queue has as much waiting as it may have. Concurrent inserts may each see room; then they exceed the bound.
-- Index: inbound_by_message, inbound_share, inbound_next.
WITH own AS MATERIALIZED (
    SELECT count(*) AS mails, coalesce(sum(size), 0) AS bytes, coalesce(max(turn), 0) AS turn
    FROM integrations_inboundevent
    WHERE state = 'waiting'
      AND (organization_id = %(organization)s::bigint OR %(organization)s::bigint IS NULL AND organization_id IS NULL)
)
INSERT INTO integrations_inboundevent
    (type, received_at, headers, query, raw, size, state, attempts, result, fault, integration_id, organization_id, answers,
    turn)
SELECT %(type)s, coalesce(%(received_at)s::timestamptz, statement_timestamp()), '{}', %(query)s, %(raw)s, %(size)s,
    'waiting', 0, '[]', '', %(integration)s, %(organization)s, %(answers)s::uuid,
    -- The turn after the last of its own, but not before the first that waits: an organization to which nothing came for
    -- long gets no advance. Events that are being read count, because those that a child does not begin are put back;
    -- hence one look-up in the index for each number of attempts.
    greatest(own.turn + 1, (
        SELECT min(first.turn)
        FROM generate_series(0, %(attempts)s) AS begun (times)
        CROSS JOIN LATERAL (
            SELECT turn FROM integrations_inboundevent
            WHERE state = 'waiting' AND organization_id IS NOT NULL AND attempts = begun.times
            ORDER BY turn
            LIMIT 1
        ) AS first
    ))
FROM own
WHERE own.mails < %(share)s AND own.bytes < %(share_bytes)s
  AND (
    SELECT count(*) < %(of_message)s FROM integrations_inboundevent
    WHERE state = 'waiting' AND answers = %(answers)s::uuid
  )
  AND CASE
    WHEN own.mails < %(kept_free)s AND own.bytes < %(kept_free_bytes)s THEN true
    ELSE (
        SELECT count(*) < %(in_all)s AND coalesce(sum(size), 0) < %(in_all_bytes)s
        FROM integrations_inboundevent
        WHERE state = 'waiting'
    )
  END
RETURNING id
