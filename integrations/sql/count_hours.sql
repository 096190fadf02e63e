-- Count the pings of one period (a day) by integration and hour; counting it again gives the same.
-- Index: none; the partition of the day is read once, whole, and no other.
INSERT INTO integrations_pinghour (integration_id, hour, pings)
SELECT integration_id, date_trunc('hour', received_at, 'UTC'), count(*)
FROM integrations_ping
WHERE received_at >= %(start)s AND received_at < %(end)s
GROUP BY 1, 2
ON CONFLICT (integration_id, hour) DO UPDATE SET pings = EXCLUDED.pings
