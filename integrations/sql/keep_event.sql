-- Store an event that was carried out, with its result.
-- Index: none is read.
INSERT INTO integrations_inboundevent
    (type, integration_id, organization_id, received_at, headers, query, source, external_id, raw, size, state, attempts,
    result, fault)
VALUES (%(type)s, %(integration)s, %(organization)s, %(now)s, %(headers)s, %(query)s, %(source)s, %(external_id)s,
    %(raw)s, %(size)s, 'read', 0, %(result)s, %(fault)s)
RETURNING id
