-- Use a rate once if it has room: the moment moves on by one interval, unless it is further ahead than the slack.
-- Index: escalation_allowance_pkey, by the key.
INSERT INTO escalation_allowance AS allowance (key, used_until)
VALUES (%(key)s, %(now)s::timestamptz + %(interval)s::interval)
ON CONFLICT (key) DO UPDATE
SET used_until = %(interval)s::interval + CASE
    WHEN allowance.used_until > %(furthest)s THEN %(now)s::timestamptz
    ELSE GREATEST(allowance.used_until, %(now)s::timestamptz)
END
-- Further ahead than any use can have brought it: the clock was set back, and nobody is to wait for that.
WHERE allowance.used_until <= %(now)s::timestamptz + %(slack)s::interval OR allowance.used_until > %(furthest)s
RETURNING used_until
