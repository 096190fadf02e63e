-- Lock open threads whose alerts have entries in the timeline that were not written there yet; entries of other kinds do not count.
-- Index: chat_thread_open, then timeline_by_alert for each of them.
SELECT thread.alert_id
FROM integrations_chatthread AS thread
WHERE thread.is_open AND EXISTS (
    SELECT FROM alerting_timelineentry AS entry
    WHERE entry.alert_id = thread.alert_id AND entry.id > thread.seen_entry AND entry.kind = ANY (%(kinds)s)
)
ORDER BY thread.alert_id
LIMIT %(limit)s
FOR UPDATE OF thread SKIP LOCKED
