-- Write a page for each run and each contact method of the people who are notified at its position in the walk.
-- Index: alerting_alert_pkey; notification_once, which also finds pages that this step wrote before; bundle_window_once.
INSERT INTO escalation_notification (
    id, organization_id, alert_id, run_id, kind, user_id, group_id, contact_method_id, channel, label, address,
    step, retry, repeat, urgency, priority_rank, in_time, asked_for, subject, text, status, attempts, created_at, next_attempt_at,
    provider_id, last_error
)
SELECT gen_random_uuid(), run.organization_id, run.alert_id, run.id, 'page', page.user_id, page.group_id,
    page.contact_method_id, page.channel, page.label, page.address, page.step, page.retry, page.repeat,
    -- First pages go before all others. A page with a delay becomes one only if it replaces a page that failed: see
    -- expedite_methods.
    CASE
        WHEN page.retry = 0 AND page.due_at <= %(now)s AND (page.step = 1 OR NOT EXISTS (
            SELECT
            FROM escalation_notification AS notified
            WHERE notified.alert_id = run.alert_id AND notified.kind = 'page' AND notified.user_id IS NOT NULL
              AND notified.status IN ('accepted', 'delivered')
        )) THEN %(first)s
        ELSE %(further)s
    END,
    array_position(ARRAY['critical', 'high', 'medium', 'low', 'none'], run.priority::text) - 1,
    page.in_time, page.text IS NOT NULL,
    '', COALESCE(page.text, ''), 'pending', 0, %(now)s,
    -- A page for a closed bundle window waits from the start: in a storm it would cost a write for each if claims postponed them.
    GREATEST(page.due_at, bundle_window.closed_until), '', ''
FROM (
    SELECT run_step.*, alert.priority
    FROM unnest(%(runs)s::bigint[], %(alerts)s::bigint[], %(organizations)s::bigint[], %(numbers)s::integer[])
        AS run_step (id, alert_id, organization_id, number)
    JOIN alerting_alert AS alert ON alert.id = run_step.alert_id
    -- OFFSET 0: alerts are looked up before the join with pages, once for each alert and not for each of its pages.
    OFFSET 0
) AS run
JOIN json_to_recordset(%(pages)s::json) AS page (
    number integer, user_id bigint, group_id bigint, contact_method_id bigint, channel text, label text, address text,
    step integer, retry integer, repeat integer, due_at timestamptz, in_time boolean, text text
) ON page.number = run.number
JOIN accounts_organization AS organization ON organization.id = run.organization_id
LEFT JOIN escalation_bundlewindow AS bundle_window
  ON bundle_window.contact_method_id = page.contact_method_id AND bundle_window.kind = 'page'
  AND organization.bundle_seconds > 0
  -- A window that is closed for much longer than it can be comes from before the clock was set back: see claim_bundles.
  AND bundle_window.closed_until
    <= %(now)s::timestamptz + make_interval(secs => organization.bundle_seconds) + interval '60 seconds'
ORDER BY run.id
ON CONFLICT DO NOTHING
