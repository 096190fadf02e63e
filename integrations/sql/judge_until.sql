-- What the watermark of judging depends on: the newest pulse that counts, whether deadlines are still moved by an outage, and the newest pulse of the web process that is furthest behind.
-- Index: the one row of integrations_ingeststate; outage_to_apply; integrations_ingestprocess has a row for each web process.
SELECT
    stored_until,
    EXISTS (SELECT FROM integrations_outage WHERE done_at IS NULL),
    (SELECT min(stored_until) FROM integrations_ingestprocess WHERE stored_until > %(waited_since)s)
FROM integrations_ingeststate
WHERE id = 1
