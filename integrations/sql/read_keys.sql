-- Read what is kept of these keys of an integration besides their alerts.
-- Index: event_key_once.
SELECT kept.key_hash, kept.closed_at, kept.waiting, kept.waiting_since, kept.due_at, kept.changed_at
FROM unnest(%(keys)s::text[]) AS key (hash)
JOIN integrations_eventkey AS kept ON kept.integration_id = %(integration)s AND kept.key_hash = key.hash
