-- Write a period of maintenance for each of these heartbeats.
-- Index: none is read.
INSERT INTO integrations_stateperiod (integration_id, kind, started_at, ended_at)
SELECT id, 'maintenance', least(%(starts_at)s::timestamptz, %(ends_at)s::timestamptz), %(ends_at)s::timestamptz
FROM unnest(%(ids)s::bigint[]) AS suspended (id)
