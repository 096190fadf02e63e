-- Write a page for each run and each contact method over which somebody is told at its place in the walk.
-- Index: notification_once; a page that this very step wrote before is passed over. It also shows whether anybody was told; letterbox_once.
INSERT INTO escalation_notification (
    id, organization_id, alert_id, run_id, kind, user_id, group_id, contact_method_id, channel, label, address,
    step, round, repeat, urgency, in_time, subject, text, status, attempts, created_at, next_attempt_at, provider_id,
    last_error
)
SELECT gen_random_uuid(), run.organization_id, run.alert_id, run.id, 'page', page.user_id, page.group_id,
    page.contact_method_id, page.channel, page.label, page.address, page.step, page.round, page.repeat,
    -- What waits for its turn is a first page when it takes the place of one that failed: see hurry_methods.
    CASE
        WHEN page.round = 0 AND page.due_at <= %(now)s AND (page.step = 1 OR NOT EXISTS (
            SELECT
            FROM escalation_notification AS told
            WHERE told.alert_id = run.alert_id AND told.kind = 'page' AND told.user_id IS NOT NULL
              AND told.status IN ('accepted', 'delivered')
        )) THEN %(first)s
        ELSE %(further)s
    END,
    page.in_time,
    '', '', 'pending', 0, %(now)s,
    -- What comes to a shut letterbox waits from the start: to be put off by the claim would cost a storm a write for each.
    GREATEST(page.due_at, letterbox.shut_until), '', ''
FROM unnest(%(runs)s::bigint[], %(alerts)s::bigint[], %(organizations)s::bigint[], %(places)s::integer[])
    AS run (id, alert_id, organization_id, place)
JOIN json_to_recordset(%(pages)s::json) AS page (
    place integer, user_id bigint, group_id bigint, contact_method_id bigint, channel text, label text, address text,
    step integer, round integer, repeat integer, due_at timestamptz, in_time boolean
) ON page.place = run.place
JOIN accounts_organization AS organization ON organization.id = run.organization_id
LEFT JOIN escalation_letterbox AS letterbox
  ON letterbox.contact_method_id = page.contact_method_id AND letterbox.kind = 'page'
  AND organization.bundle_seconds > 0
  -- Shut since, by a clock that is a little ahead of this moment; much longer it cannot be shut for: see claim_letterboxes.
  AND letterbox.shut_until
    <= %(now)s::timestamptz + make_interval(secs => organization.bundle_seconds) + interval '60 seconds'
ORDER BY run.id
ON CONFLICT DO NOTHING
