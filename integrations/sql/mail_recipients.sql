-- Find the integrations of mail addresses: by the token that each has or had before, or by an alias, in the order of their sequence.
-- Index: the unique index on integrations_inboundintegration.mail_token, integrations_formertoken's primary key, event_settings_aliases.
SELECT asked.ordinality, integration.id, integration.organization_id, integration.token IS NULL
FROM unnest(%(tokens)s::text[], %(addresses)s::text[]) WITH ORDINALITY AS asked (token, address, ordinality)
CROSS JOIN LATERAL (
    SELECT present.id, present.organization_id, present.mail_token AS token
    FROM integrations_inboundintegration AS present
    WHERE present.mail_token = asked.token AND present.type IN ('email', 'heartbeat')
    UNION ALL
    SELECT past.id, past.organization_id, former.token
    FROM integrations_formertoken AS former
    JOIN integrations_inboundintegration AS past ON past.id = former.integration_id
    WHERE former.token = 'mail:' || asked.token AND former.ends_at > coalesce(%(now)s::timestamptz, now())
    UNION ALL
    (
        SELECT other.id, other.organization_id, NULL
        FROM integrations_eventsettings AS settings
        JOIN integrations_inboundintegration AS other ON other.id = settings.integration_id
        WHERE settings.aliases @> jsonb_build_array(asked.address) AND other.type = 'email'
        ORDER BY settings.sequence, other.id
        LIMIT 1
    )
    LIMIT 1
) AS integration
ORDER BY asked.ordinality
