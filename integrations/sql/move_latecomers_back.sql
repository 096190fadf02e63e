-- Move back what was being sent at a step of the clock, and what was written about it by the old time since.
-- Index: notification_due_by_priority, the partial index over what is not sent yet.
UPDATE escalation_notification
SET next_attempt_at = next_attempt_at - %(by)s::interval,
    created_at = CASE WHEN created_at > %(now)s THEN created_at - %(by)s::interval ELSE created_at END,
    limited_since = CASE WHEN limited_since > %(now)s THEN limited_since - %(by)s::interval ELSE limited_since END
WHERE next_attempt_at IS NOT NULL AND next_attempt_at >= %(until)s
  AND (status = 'sending' AND next_attempt_at > %(longest_lease)s OR status = 'pending' AND attempts > 0)
