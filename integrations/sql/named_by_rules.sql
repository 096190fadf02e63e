-- List the integrations of an organization whose rules lead alerts elsewhere, and name one of these policies, plays, groups or users.
-- Index: integrations_eventsettings_pkey or integration_by_name; few integrations have rules, and those are read.
SELECT settings.integration_id
FROM integrations_eventsettings AS settings
JOIN integrations_inboundintegration AS integration ON integration.id = settings.integration_id
WHERE integration.organization_id = %(organization)s AND settings.rules <> '[]'::jsonb AND EXISTS (
    SELECT FROM jsonb_array_elements(settings.rules) AS rule (value),
        LATERAL (SELECT rule.value -> 'then' AS value) AS of_rule
    -- A rule that only adds recipients opens no gap.
    WHERE coalesce(
        of_rule.value ->> 'escalation_policy', of_rule.value ->> 'response_play', of_rule.value ->> 'priority',
        nullif(of_rule.value ->> 'replace', 'false')
    ) IS NOT NULL AND (
        (of_rule.value ->> 'escalation_policy')::bigint = ANY(%(policies)s::bigint[])
        OR (of_rule.value ->> 'response_play')::bigint = ANY(%(plays)s::bigint[])
        OR EXISTS (
            SELECT FROM jsonb_array_elements_text(of_rule.value -> 'recipient_groups') AS recipient (id)
            WHERE recipient.id::bigint = ANY(%(groups)s::bigint[])
        )
        OR EXISTS (
            SELECT FROM jsonb_array_elements_text(of_rule.value -> 'recipient_users') AS recipient (id)
            WHERE recipient.id::bigint = ANY(%(users)s::bigint[])
        )
    )
)
