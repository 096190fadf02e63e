-- Write when each kind of work was last done, and add how often it was done since the last write.
-- Index: escalation_progress_pkey. Rows are written in one order, so that two workers never deadlock.
INSERT INTO escalation_progress AS progress (work, at, count)
SELECT work, at, count
FROM unnest(%(works)s::text[], %(times)s::timestamptz[], %(counts)s::bigint[]) AS noted (work, at, count)
ORDER BY work
-- The new time and not the greatest: after a clock was set back, the old time would look like progress that is not there.
ON CONFLICT (work) DO UPDATE SET at = EXCLUDED.at, count = progress.count + EXCLUDED.count
