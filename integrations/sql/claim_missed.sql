-- Lock the heartbeats whose deadline has passed by the watermark, oldest first, passing over those another detector holds.
-- Index: heartbeat_due, the partial index on deadline_at over rows whose timer runs.
SELECT integration_id
FROM integrations_heartbeat
WHERE state IN ('waiting', 'healthy') AND deadline_at IS NOT NULL AND deadline_at <= %(judge_until)s
  AND (quarantined_until IS NULL OR quarantined_until <= %(now)s)
ORDER BY deadline_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
