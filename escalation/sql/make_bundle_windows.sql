-- Insert the missing bundle windows of the notifications that are due longest on a channel, of one urgency and each priority.
-- Index: notification_due_by_priority. Rows are inserted in one order, so that two workers never deadlock.
INSERT INTO escalation_bundlewindow (contact_method_id, kind)
SELECT DISTINCT due.contact_method_id, due.kind
FROM (VALUES (0), (1), (2), (3), (4)) AS priority (rank)
CROSS JOIN LATERAL (
    SELECT contact_method_id, kind, message_id
    FROM escalation_notification
    WHERE channel = %(channel)s AND urgency = %(urgency)s AND priority_rank = priority.rank
      AND next_attempt_at <= %(due_by)s
    ORDER BY next_attempt_at
    LIMIT %(look)s
) AS due
WHERE due.message_id IS NULL AND due.kind <> 'notice' AND due.contact_method_id IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM escalation_bundlewindow AS bundle_window
    WHERE bundle_window.contact_method_id = due.contact_method_id AND bundle_window.kind = due.kind
  )
ORDER BY due.contact_method_id, due.kind
ON CONFLICT DO NOTHING
