-- Count refused messages; the first one marks a contact method as failing, for a phone the second in a row.
-- Index: accounts_contactmethod_pkey. Rows are locked in id order, so that two callers never deadlock. A method whose address has changed since is left alone.
WITH refused AS (
    SELECT method.id, message.error, message.number
    FROM unnest(%(ids)s::bigint[], %(addresses)s::text[], %(errors)s::text[], %(numbers)s::integer[])
        AS message (id, address, error, number)
    JOIN accounts_contactmethod AS method ON method.id = message.id
    WHERE method.address = message.address AND method.verified_at IS NOT NULL
    ORDER BY method.id
    FOR NO KEY UPDATE OF method
)
UPDATE accounts_contactmethod AS method
SET failures = LEAST(method.failures + refused.number, 1000),
    failed_at = %(now)s,
    failing_reason = CASE WHEN method.stopped_at IS NULL THEN refused.error ELSE method.failing_reason END,
    failing_since = CASE
        WHEN method.failing_since IS NOT NULL THEN method.failing_since
        WHEN method.failures + refused.number >= CASE WHEN method.kind = ANY(%(phones)s) THEN 2 ELSE 1 END
        THEN %(now)s::timestamptz
    END
FROM refused
WHERE method.id = refused.id
RETURNING method.kind
