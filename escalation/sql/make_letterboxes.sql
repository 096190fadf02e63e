-- Make the letterboxes that are missing for what is due longest on a channel, of one urgency.
-- Index: notification_due_by_urgency. In one order, so that two workers never deadlock.
INSERT INTO escalation_letterbox (contact_method_id, kind)
SELECT DISTINCT contact_method_id, kind
FROM (
    SELECT contact_method_id, kind, envelope
    FROM escalation_notification
    WHERE channel = %(channel)s AND urgency = %(urgency)s AND next_attempt_at <= %(due_by)s
    ORDER BY next_attempt_at
    LIMIT %(look)s
) AS due
WHERE envelope IS NULL AND kind IN ('page', 'last_resort', 'recovery') AND contact_method_id IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM escalation_letterbox AS letterbox
    WHERE letterbox.contact_method_id = due.contact_method_id AND letterbox.kind = due.kind
  )
ORDER BY contact_method_id, kind
ON CONFLICT DO NOTHING
