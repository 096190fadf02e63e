-- Count messages that addresses refused; the first marks a contact method as failing, of the kinds in `twice` the second in a row.
-- Index: accounts_contactmethod_pkey. Rows are locked in id order.
WITH refused AS (
    SELECT method.id, given.error, given.number
    FROM unnest(%(ids)s::bigint[], %(addresses)s::text[], %(errors)s::text[], %(numbers)s::integer[])
        AS given (id, address, error, number)
    JOIN accounts_contactmethod AS method ON method.id = given.id
    WHERE method.address = given.address AND method.verified_at IS NOT NULL
    ORDER BY method.id
    FOR NO KEY UPDATE OF method
)
UPDATE accounts_contactmethod AS method
SET failures = LEAST(method.failures + refused.number, 1000),
    failed_at = %(now)s,
    failing_reason = refused.error,
    failing_since = CASE
        WHEN method.failing_since IS NOT NULL THEN method.failing_since
        WHEN method.failures + refused.number >= CASE WHEN method.kind = ANY(%(twice)s) THEN 2 ELSE 1 END
        THEN %(now)s::timestamptz
    END
FROM refused
WHERE method.id = refused.id
RETURNING method.kind
