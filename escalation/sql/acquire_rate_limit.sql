-- Use a rate limit once if it has room: `used_until` moves on by one interval, unless it is further ahead than the slack.
-- Index: escalation_ratelimitstate_pkey, by the key.
INSERT INTO escalation_ratelimitstate AS rate_limit (key, used_until)
VALUES (%(key)s, %(now)s::timestamptz + %(interval)s::interval)
ON CONFLICT (key) DO UPDATE
SET used_until = %(interval)s::interval + CASE
    WHEN rate_limit.used_until > %(furthest)s THEN %(now)s::timestamptz
    ELSE GREATEST(rate_limit.used_until, %(now)s::timestamptz)
END
-- A time beyond `furthest` comes from before the clock was set back: no use could bring it that far, so it does not count.
WHERE rate_limit.used_until <= %(now)s::timestamptz + %(slack)s::interval OR rate_limit.used_until > %(furthest)s
RETURNING used_until
