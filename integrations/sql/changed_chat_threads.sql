-- Lock open threads whose alerts have entries in the timeline that were not written there yet; entries of other kinds do not count.
-- Index: chat_thread_open, then timeline_by_alert for each of them; with its limit, it is looked up for each thread by itself.
SELECT thread.alert_id
FROM integrations_chatthread AS thread
CROSS JOIN LATERAL (
    SELECT FROM alerting_timelineentry AS entry
    WHERE entry.alert_id = thread.alert_id AND entry.id > thread.seen_entry AND entry.kind = ANY (%(kinds)s)
    LIMIT 1
) AS change
WHERE thread.is_open
ORDER BY thread.alert_id
LIMIT %(limit)s
FOR UPDATE OF thread SKIP LOCKED
