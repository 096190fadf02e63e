-- One large organization as a real installation has it. Ids run from 1, so that the rows of one table can name those of
-- another. `organization` is created by its service before, with the built-in roles.
INSERT INTO accounts_user (id, organization_id, password, email, name, kind, time_zone, is_active, is_owner, created_at)
    SELECT n, %(organization)s, '', 'person' || n || '@example.com', 'Person ' || lpad(n::text, 4, '0'),
        CASE WHEN n %% 25 = 0 THEN 'stakeholder' ELSE 'standard' END, 'UTC', n %% 50 <> 49, n = 1,
        now() - interval '300 days'
    FROM generate_series(1, %(people)s) AS n;
INSERT INTO accounts_user_roles (user_id, role_id)
    SELECT person.id, role.id FROM accounts_user AS person JOIN accounts_role AS role ON role.builtin =
        CASE WHEN person.id = 1 THEN 'Owner' WHEN person.id < 10 THEN 'App Admin' ELSE 'Basic' END
    UNION ALL SELECT 1, id FROM accounts_role WHERE builtin = 'App Admin';
INSERT INTO accounts_contactmethod (id, user_id, kind, label, address, position, enabled, delay_minutes, verified_at,
    code_digest, code_tries)
    SELECT n, n, 'email', 'Email-Official', 'person' || n || '@example.com', 0, true, 0, now(), '', 0
    FROM generate_series(1, %(people)s) AS n
    UNION ALL SELECT 100000 + n, n, 'sms', 'Mobile', '+4915100' || lpad(n::text, 6, '0'), 1, true, 5, now(), '', 0
    FROM generate_series(1, %(people)s) AS n;
INSERT INTO accounts_chatmember (id, organization_id, user_id, platform, scope, member, name, linked_at)
    SELECT n, %(organization)s, n, 'slack', repeat('0', 64), 'T1:U' || n, 'person' || n, now()
    FROM generate_series(1, %(people)s) AS n;
INSERT INTO accounts_role (id, organization_id, name, builtin, entitlements)
    VALUES (1000, %(organization)s, 'Auditor', '', '{AuditTrail_View}');
INSERT INTO accounts_optout (user_id, integration_id, created_at)
    SELECT n, n * 7, now() FROM generate_series(1, %(people)s / 5) AS n;
INSERT INTO accounts_apikey (id, user_id, name, prefix, key_hash, created_at, revoked_at)
    SELECT n, 1 + (n - 1) %% %(people)s, 'script ' || n, 'hb_' || lpad(n::text, 5, '0'), md5(n::text) || md5('k' || n),
        now() - interval '200 days', CASE WHEN n %% 4 = 0 THEN now() END
    FROM generate_series(1, %(keys)s) AS n;
INSERT INTO accounts_group (id, organization_id, name, description, created_at)
    SELECT n, %(organization)s, 'Team ' || lpad(n::text, 3, '0'), 'Runs what its name says.', now() - interval '300 days'
    FROM generate_series(1, %(groups)s) AS n;
INSERT INTO accounts_groupmember (group_id, user_id, role, position)
    SELECT g, 1 + (5 * (g - 1) + n) %% %(people)s, (ARRAY['primary', 'primary', 'primary', 'secondary', 'manager'])[n + 1], n
    FROM generate_series(1, %(groups)s) AS g, generate_series(0, 4) AS n;
INSERT INTO accounts_groupnesting (group_id, child_id, position)
    SELECT n, n + 1, 0 FROM generate_series(10, %(groups)s - 1, 10) AS n;
INSERT INTO accounts_contactmethod (id, group_id, kind, label, address, position, enabled, delay_minutes, verified_at,
    code_digest, code_tries)
    SELECT 200000 + n, n, 'email', 'Mailbox', 'team' || n || '@example.com', 0, true, 0, now(), '', 0
    FROM generate_series(1, %(groups)s, 2) AS n;
INSERT INTO alerting_bridge (id, organization_id, name, phone_number, access_code, meeting_url)
    SELECT n, %(organization)s, 'Bridge ' || n, '+49301000' || n, '1234', 'https://meet.example.com/' || n
    FROM generate_series(1, %(bridges)s) AS n;

-- policies and plays
INSERT INTO escalation_escalationpolicy (id, organization_id, name, description, priority, enabled, quick_launch,
    notify_using, next_group_wait_minutes, acknowledge_stops, recovery_notice, repeats, version)
    SELECT n, %(organization)s, 'Policy ' || lpad(n::text, 2, '0'), 'Who is notified, and when.',
        (ARRAY['critical', 'high', 'low'])[1 + n %% 3], n %% 15 <> 14, n %% 2 = 0, 'user', 5, false, true, 1, 3
    FROM generate_series(1, %(policies)s) AS n;
INSERT INTO escalation_policyrole (policy_id, role, wait_minutes, between_members_minutes, retries,
    retry_interval_minutes, contact_labels)
    SELECT n, role, wait, 5, 1, 5, '{}' FROM generate_series(1, %(policies)s) AS n,
        (VALUES ('primary', 0), ('secondary', 10), ('manager', 20)) AS roles (role, wait);
INSERT INTO escalation_responseplay (id, organization_id, name, description, priority, enabled, recovery_notice, version)
    SELECT n, %(organization)s, 'Play ' || n, '', 'high', true, true, 1 FROM generate_series(1, %(plays)s) AS n;
INSERT INTO escalation_playtier (id, play_id, offset_minutes)
    SELECT 2 * n + tier, n, 15 * tier FROM generate_series(1, %(plays)s) AS n, generate_series(0, 1) AS tier;
INSERT INTO escalation_playtier_users (playtier_id, user_id)
    SELECT id, 1 + (id * 3 + n) %% %(people)s FROM escalation_playtier, generate_series(0, 2) AS n;
INSERT INTO escalation_playtier_groups (playtier_id, group_id)
    SELECT id, 1 + id %% %(groups)s FROM escalation_playtier;

-- on call: half of the groups take weekly turns, some have hours on top, some people are away
INSERT INTO escalation_shift (id, group_id, name, kind, time_zone, rotates_every, rotates_count, first_handoff_on,
    handoff_time, people_at_once, calendar_url, calendar_error)
    SELECT n, n, 'Weekly turns', 'rotating', 'Europe/Berlin', 'week', 1, current_date - 70 - n %% 7, '09:00'::time, 1, '', ''
    FROM generate_series(1, %(groups)s / 2) AS n
    UNION ALL SELECT 1000 + n, n, 'Office hours', 'fixed', 'Europe/Berlin', 'week', 1, NULL, '09:00', 1, '', ''
    FROM generate_series(1, %(groups)s / 10) AS n;
INSERT INTO escalation_shiftperson (shift_id, user_id, role, position)
    SELECT shift.id, member.user_id, 'primary', member.position FROM escalation_shift AS shift
    JOIN accounts_groupmember AS member ON member.group_id = shift.group_id WHERE member.role = 'primary';
INSERT INTO escalation_shiftwindow (shift_id, days, starts, ends, days_later)
    SELECT id, '{monday,tuesday,wednesday,thursday,friday}', '09:00', '17:00', 0 FROM escalation_shift WHERE id > 1000;
INSERT INTO escalation_outofoffice (id, user_id, cover_id, group_id, starts_at, ends_at)
    SELECT n, 3 * n, 3 * n + 1, NULL, now() + (n - 20) * interval '1 day', now() + (n - 13) * interval '1 day'
    FROM generate_series(1, %(people)s / 10) AS n;
INSERT INTO escalation_calendarfeed (user_id, token) VALUES (1, 'benchmark');

-- what comes in; `n %% 300 = 0` are silent, with a live alert
INSERT INTO integrations_inboundintegration (id, organization_id, type, name, token, escalation_policy_id,
    response_play_id, bridge_id, enabled, created_at)
    SELECT n, %(organization)s, 'heartbeat',
        (ARRAY['Nightly backup', 'Invoice export', 'Certificate renewal', 'Queue drain', 'Report mail'])[1 + n %% 5]
            || ' on host-' || lpad(n::text, 6, '0'), 'bench-' || n,
        CASE WHEN n %% 20 <> 0 THEN 1 + (n %% %(groups)s * 2 + n %% 3 / 2) %% %(policies)s END,
        CASE WHEN n %% 20 = 0 THEN 1 + n / 20 %% %(plays)s END,
        CASE WHEN n %% 10 = 1 THEN 1 + n / 10 %% %(bridges)s END, n %% 50 <> 7, now() - interval '100 days'
    FROM generate_series(1, %(heartbeats)s) AS n;
INSERT INTO integrations_inboundintegration_recipient_groups (inboundintegration_id, group_id)
    SELECT n, 1 + n %% %(groups)s FROM generate_series(1, %(heartbeats)s) AS n WHERE n %% 20 <> 0;
INSERT INTO integrations_inboundintegration_recipient_users (inboundintegration_id, user_id)
    SELECT n, 1 + n / 40 %% %(people)s FROM generate_series(1, %(heartbeats)s) AS n WHERE n %% 40 = 1;
INSERT INTO integrations_heartbeat (integration_id, interval_minutes, grace_minutes, start_timer, allow_get, state,
    ping_count, last_ping_at, armed_at, deadline_at, suspended_until, error)
    SELECT n, 60, 5, 'when_enabled', false, state, 1000, now() - age,
        CASE WHEN state <> 'disabled' THEN now() - age END,
        CASE WHEN state <> 'disabled' THEN now() - age + interval '65 minutes' END,
        CASE WHEN n BETWEEN 1001 AND 1500 THEN now() + interval '2 hours' END, ''
    FROM generate_series(1, %(heartbeats)s) AS n, LATERAL (SELECT
        CASE WHEN n %% 50 = 7 THEN 'disabled' WHEN n %% 300 = 0 AND n <= 90000 THEN 'missed'
            WHEN n %% 100 = 13 THEN 'waiting' ELSE 'healthy' END AS state,
        CASE WHEN n %% 300 = 0 THEN interval '70 minutes' ELSE n %% 3600 * interval '1 second' END AS age) AS now_is;
INSERT INTO integrations_ping (integration_id, received_at, method, source_ip, user_agent)
    SELECT n, now() - n %% 3600 * interval '1 second', 'POST', '10.0.0.1'::inet, 'curl/8.5.0'
    FROM generate_series(1, %(heartbeats)s) AS n
    UNION ALL SELECT 300, now() - n * interval '1 minute', 'POST', '10.0.0.1'::inet, 'curl/8.5.0'
    FROM generate_series(1, 2000) AS n;
INSERT INTO integrations_heartbeatevent (integration_id, at, kind, actor_id, text)
    SELECT n, now() - interval '100 days', 'created', 1, 'Created.' FROM generate_series(1, %(heartbeats)s) AS n;
INSERT INTO integrations_maintenancewindow (id, organization_id, name, starts_at, ends_at, all_integrations, applied_at)
    SELECT n, %(organization)s, 'Patch day ' || n, now() - (n - 1) * interval '7 days' - interval '2 hours',
        now() - (n - 1) * interval '7 days' + interval '2 hours', n %% 10 = 9,
        now() - (n - 1) * interval '7 days' - interval '2 hours'
    FROM generate_series(1, %(windows)s) AS n;
INSERT INTO integrations_maintenancewindow_integrations (maintenancewindow_id, inboundintegration_id)
    SELECT 1, n FROM generate_series(1001, 1500) AS n
    UNION ALL SELECT window_id, window_id * 100 + n
    FROM generate_series(2, %(windows)s) AS window_id, generate_series(1, 20) AS n WHERE window_id %% 10 <> 9;

-- alerts: the even ones of the newest 600 are live, 150 open, 100 assigned and 50 on hold; the others are over
INSERT INTO alerting_alert (id, organization_id, status, priority, subject, short_text, long_text, facts, source,
    source_name, source_id, integration_id, expected_at, owner_id, opened_at, acknowledged_at, acknowledged_by_id,
    assigned_at, hold_until, closed_at, close_reason)
    SELECT n, %(organization)s, status, (ARRAY['critical', 'high', 'low'])[1 + n %% 3], job.name || ' is silent',
        job.name || ' is silent', 'No ping came by its deadline.' || chr(10) || 'The last one came an hour before.',
        '[{"label": "Interval", "text": "60 minutes"}]', 'Heartbeat', job.name, 'heartbeat-' || job.id, job.id, opened_at,
        CASE WHEN NOT is_live OR status <> 'open' THEN taker END, opened_at, opened_at + interval '4 minutes', taker,
        CASE WHEN NOT is_live OR status <> 'open' THEN opened_at + interval '6 minutes' END,
        CASE WHEN status = 'on_hold' THEN now() + interval '3 hours' END,
        CASE WHEN NOT is_live THEN opened_at + interval '40 minutes' END,
        CASE WHEN NOT is_live THEN 'The signal came back.' ELSE '' END
    FROM generate_series(1, %(alerts)s) AS n,
        LATERAL (SELECT n > %(alerts)s - 600 AND n %% 2 = 0 AS is_live, (n - %(alerts)s + 600) / 2 AS live_number,
            now() - (%(alerts)s + 20 - n) * interval '6 minutes' AS opened_at, 1 + n * 7 %% %(people)s AS taker) AS facts,
        LATERAL (SELECT CASE WHEN is_live THEN (ARRAY['open', 'open', 'open', 'assigned', 'assigned', 'on_hold'])
                [1 + live_number %% 6] WHEN n %% 50 = 1 THEN 'cancelled' ELSE 'closed' END AS status,
            CASE WHEN is_live THEN 300 * live_number ELSE 1 + n * 37 %% %(heartbeats)s END AS job_id) AS state
        JOIN integrations_inboundintegration AS job ON job.id = job_id;
INSERT INTO alerting_alertrecipient (alert_id, group_id, user_id)
    SELECT id, 1 + integration_id %% %(groups)s, NULL FROM alerting_alert
    UNION ALL SELECT alert.id, NULL, 1 + (alert.id + n) %% %(people)s FROM alerting_alert AS alert, generate_series(0, 1) AS n;
INSERT INTO alerting_timelineentry (alert_id, at, kind, actor_id, text)
    SELECT alert.id, opened_at + delay * interval '1 minute', kind, CASE WHEN by_person THEN acknowledged_by_id END, said
    FROM alerting_alert AS alert JOIN (VALUES ('opened', 0, false, 'Opened: no ping came.'),
        ('notified', 0, false, 'Person 0001 was notified by e-mail.'), ('notified', 1, false, 'Person 0002 was notified by SMS.'),
        ('acknowledged', 4, true, 'Acknowledged.'), ('assigned', 6, true, 'Assigned.'), ('closed', 40, false, 'Closed.'))
        AS entry (kind, delay, by_person, said) ON status IN ('closed', 'cancelled') OR delay < 5 OR (delay < 10 AND status <> 'open');
INSERT INTO escalation_escalationrun (id, alert_id, policy_id, name, version, plan, position, acknowledge_stops,
    recovery_notice, step, next_step_at, parked, error)
    SELECT id, id, 1, 'Policy 01', 3, %(plan)s, %(position)s, false, true, 1,
        CASE WHEN status = 'open' THEN now() + interval '5 minutes' END, false, '' FROM alerting_alert;
INSERT INTO escalation_notification (id, organization_id, alert_id, run_id, kind, user_id, contact_method_id, channel,
    label, address, step, retry, subject, text, status, message_id, attempts, created_at, accepted_at, provider_id,
    last_error)
    SELECT gen_random_uuid(), %(organization)s, alert.id, alert.id, 'page', person, base + person, channel, label,
        CASE channel WHEN 'sms' THEN '+4915100' || lpad(person::text, 6, '0') ELSE 'person' || person || '@example.com' END,
        1, 0, '', '', 'delivered', CASE WHEN is_lately AND person = 1 THEN (%(message)s)::uuid ELSE gen_random_uuid() END,
        1, opened_at, opened_at + interval '2 seconds', '', ''
    FROM alerting_alert AS alert JOIN (VALUES (0, 0, 'email', 'Email-Official'),
        (1, 100000, 'sms', 'Mobile')) AS sent (number, base, channel, label) ON true,
        LATERAL (SELECT closed_at IS NULL AND alert.id > %(alerts)s - 300 AS is_lately) AS age,
        LATERAL (SELECT CASE WHEN is_lately AND number = 0 AND alert.id %% 6 = 0 THEN 1
            ELSE 1 + (alert.id + number) %% %(people)s END AS person) AS receiver;
-- one API integration with all the events that are kept of one, and nine without; the even ones open, the odd ones close
INSERT INTO integrations_inboundintegration (id, organization_id, type, name, token, escalation_policy_id, enabled,
    created_at)
    SELECT %(heartbeats)s + n, %(organization)s, 'api', 'Alertmanager ' || n, 'bench-api-' || n, n, true,
        now() - interval '100 days'
    FROM generate_series(1, 10) AS n;
INSERT INTO integrations_inboundintegration_recipient_groups (inboundintegration_id, group_id)
    SELECT %(heartbeats)s + n, n FROM generate_series(1, 10) AS n;
INSERT INTO integrations_eventsettings (integration_id, allow_get, preset, mapping, status_words, rules, no_rule, delay,
    group_minutes, auto_close_minutes, storm_per_minute)
    SELECT %(heartbeats)s + n, false, 'auto', '{"subject": "{{ payload.commonLabels.alertname }} on {{ payload.commonLabels.instance }}"}',
        '{}', (SELECT jsonb_agg(jsonb_build_object('name', 'Team ' || rule, 'when', jsonb_build_object('all',
            jsonb_build_array(jsonb_build_object('path', 'commonLabels.team', 'op', 'equals', 'value', 'team-' || rule))),
            'then', jsonb_build_object('recipient_groups', jsonb_build_array(rule)))) FROM generate_series(1, 20) AS rule),
        'continue', '{"mode": "none"}', 0, 0, 60
    FROM generate_series(1, 10) AS n;
INSERT INTO integrations_eventstate (integration_id, event_count, rejected_count, last_event_at, opened_in_minute)
    SELECT %(heartbeats)s + n, CASE WHEN n = 1 THEN %(events)s ELSE 0 END, 0, CASE WHEN n = 1 THEN now() END, 0
    FROM generate_series(1, 10) AS n;
INSERT INTO integrations_inboundevent (id, type, integration_id, organization_id, turn, received_at, headers, query, raw,
    size, state, attempts, result, fault)
    SELECT n, 'api', %(heartbeats)s + 1, %(organization)s, 0, now() - (%(events)s - n) * interval '1 minute',
        '{"content-type": "application/json", "user-agent": "Alertmanager/0.28.1", "authorization": "hidden"}', '{}',
        body, length(body), 'read', 0, jsonb_build_array(jsonb_build_object('action',
            CASE WHEN n %% 2 = 0 THEN 'opened' ELSE 'closed' END, 'alert', 1 + n %% %(alerts)s, 'source_id', 'host-' || n / 2,
            'reason', '')), ''
    FROM generate_series(1, %(events)s) AS n, LATERAL (SELECT convert_to(jsonb_build_object('version', '4', 'receiver', 'heartbeat',
        'groupKey', '{}:{instance="host-' || n / 2 || '"}', 'externalURL', 'http://alertmanager.example.com',
        'status', CASE WHEN n %% 2 = 0 THEN 'firing' ELSE 'resolved' END, 'commonLabels', labels, 'groupLabels', labels,
        'alerts', (SELECT jsonb_agg(jsonb_build_object('status', 'firing', 'fingerprint', md5(n / 2 || '.' || part),
            'labels', labels, 'startsAt', now(), 'annotations', jsonb_build_object('summary', 'Disk ' || part || ' is full',
            'description', repeat('The disk fills up, and nothing has been written to it since. ', 5))))
            FROM generate_series(1, 5) AS part))::text, 'UTF8') AS body
        FROM (SELECT jsonb_build_object('alertname', 'DiskFull', 'instance', 'host-' || n / 2, 'severity', 'critical',
            'team', 'team-' || n %% 20) AS labels) AS of_host) AS sent;
INSERT INTO integrations_heartbeatevent (integration_id, at, kind, text)
    SELECT integration_id, opened_at, 'missed', 'Alert ' || id || ' opened.' FROM alerting_alert
    UNION ALL SELECT integration_id, closed_at, 'recovered', 'Pinged again.' FROM alerting_alert WHERE closed_at IS NOT NULL;

-- what the installation keeps about itself
INSERT INTO accounts_auditentry (organization_id, at, actor_id, actor_name, via, address, object_type, object_id,
    object_name, action, before, after)
    SELECT %(organization)s, now() - n * interval '1 minute', 1 + n %% 20, 'Person', 'page', '10.0.0.1', 'integration', n,
        'Job ' || n, 'changed', '{"interval_minutes": 60}', '{"interval_minutes": 30}'
    FROM generate_series(1, %(entries)s) AS n;
INSERT INTO escalation_storedmail (id, at, sender, recipients, subject, text, html, message_id, user_id)
    SELECT n, now() - n * interval '1 minute', 'heartbeat@example.com', 'person1@example.com', 'A job is silent',
        'It is silent.', '<p>It is silent.', '', 1 FROM generate_series(1, 3000) AS n;
INSERT INTO integrations_inboundevent (id, type, organization_id, turn, received_at, headers, raw, size, state, attempts,
    result, fault)
    SELECT %(events)s + n, 'email', %(organization)s, n, now() - n * interval '1 hour', '{}', repeat('x', 1000)::bytea, 1000,
        'unreadable', 1, '{}', 'It has no text.' FROM generate_series(1, 200) AS n;
INSERT INTO integrations_outage (started_at, ended_at, refused_pings, moved_through, moved_count, done_at, mail_due)
    SELECT now() - n * interval '9 days', now() - n * interval '9 days' + interval '2 minutes', 0, 0, 0, now(), false
    FROM generate_series(1, 10) AS n;
INSERT INTO integrations_monthlyusage (organization_id, month, heartbeats, alerts, messages, counted_at)
    SELECT %(organization)s, date_trunc('month', now()) - n * interval '1 month', 100000, 6000, '{"email": 9000}', now()
    FROM generate_series(1, 12) AS n;
