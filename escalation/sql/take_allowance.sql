-- Use a rate once if it has room: the moment moves on by one interval, unless it is further ahead than the slack.
-- Index: escalation_allowance_pkey, by the key.
INSERT INTO escalation_allowance AS allowance (key, used_until)
VALUES (%(key)s, %(now)s::timestamptz + %(interval)s::interval)
ON CONFLICT (key) DO UPDATE
SET used_until = GREATEST(allowance.used_until, %(now)s::timestamptz) + %(interval)s::interval
WHERE allowance.used_until <= %(now)s::timestamptz + %(slack)s::interval
RETURNING used_until
