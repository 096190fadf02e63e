-- Find the organization that sent a message about an alert to a person, whose answer it can get.
-- Index: notification_by_message, escalation_notification's primary key.
SELECT organization_id
FROM escalation_notification
WHERE (message_id = %(message)s::uuid OR id = %(message)s::uuid) AND alert_id IS NOT NULL AND user_id IS NOT NULL
LIMIT 1
