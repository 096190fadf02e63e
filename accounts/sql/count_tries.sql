-- Count one try for each key, and return the number of tries of each in its window; concurrent calls are counted one after the other.
-- Index: accounts_trycount_pkey; try_count_age for the at most 10 old rows that it deletes. Rows are locked in the order of keys, so that two calls never deadlock.
-- A window that ends later than two windows from now began before the clock was set back, so it counts as over.
WITH counted AS (
    INSERT INTO accounts_trycount AS stored (key, tries, until)
    SELECT key, 1, %(now)s::timestamptz + %(within)s::interval FROM unnest(%(keys)s::text[]) AS key ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        tries = CASE WHEN stored.until > %(now)s AND stored.until <= excluded.until + %(within)s
            THEN least(stored.tries + 1, 1000000) ELSE 1 END,
        until = CASE WHEN stored.until > %(now)s AND stored.until <= excluded.until + %(within)s
            THEN stored.until ELSE excluded.until END
    RETURNING key, tries, until
),
dropped AS (
    DELETE FROM accounts_trycount
    WHERE key = ANY(ARRAY(
        SELECT key FROM accounts_trycount WHERE until < %(now)s::timestamptz - interval '1 hour'
        ORDER BY until LIMIT 10 FOR UPDATE SKIP LOCKED
    )) AND key <> ALL(%(keys)s::text[])
)
SELECT key, tries, until FROM counted
