-- Note that organizations got their list of a day; returns those that had not, which only this call may mail.
-- Index: integrations_dailylist_pkey, by the organization.
INSERT INTO integrations_dailylist AS list (organization_id, day)
SELECT organization_id, day
FROM unnest(%(organizations)s::bigint[], %(days)s::date[]) AS due (organization_id, day)
ORDER BY organization_id
ON CONFLICT (organization_id) DO UPDATE SET day = EXCLUDED.day
WHERE list.day < EXCLUDED.day
RETURNING organization_id
