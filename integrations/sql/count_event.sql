-- Count an event of an integration, and lock its state until the transaction ends: its events are carried out one by one.
-- Index: the state's primary key.
UPDATE integrations_eventstate
SET event_count = event_count + 1, last_event_at = %(now)s::timestamptz
WHERE integration_id = %(integration)s
RETURNING event_count, fault, fault_noticed_at, minute, opened_in_minute, storm_alert_id, group_alert_id, group_ends_at
