-- List the users who opted out of these integrations.
-- Index: opt_out_once.
SELECT integration_id, user_id
FROM accounts_optout
WHERE integration_id = ANY(%(ids)s::bigint[])
