-- Whether the engine has any work now: whatever one of its parts looks for; asked each second.
-- Index: beside each question, the partial index over what waits; the first row that is found ends the statement.
SELECT
    -- Misses: heartbeat_due, in its order: see record_pulse.sql.
    (
        SELECT deadline_at FROM integrations_heartbeat
        WHERE state IN ('waiting', 'healthy') AND deadline_at <= %(now)s
          AND (quarantined_until IS NULL OR quarantined_until <= %(now)s)
        ORDER BY deadline_at
        LIMIT 1
    ) IS NOT NULL
    -- Steps of escalations: run_due. Those of alerts that are not open are parked by the tick, so that they are met once.
    OR (
        SELECT next_step_at FROM escalation_escalationrun
        WHERE next_step_at <= %(now)s AND NOT parked
        ORDER BY next_step_at
        LIMIT 1
    ) IS NOT NULL
    -- Reviews of alerts that were taken: run_review.
    OR (
        SELECT review_at FROM escalation_escalationrun WHERE review_at <= %(now)s ORDER BY review_at LIMIT 1
    ) IS NOT NULL
    -- Escalations that go on because their alert is open again: run_parked. As above, the order of an index keeps the
    -- planner from reading whole tables because it expects to meet such a row soon.
    OR (
        SELECT run.alert_id FROM escalation_escalationrun AS run
        JOIN alerting_alert AS alert ON alert.id = run.alert_id
        WHERE run.parked
          AND alert.status = 'open' AND NOT (run.acknowledge_stops AND alert.acknowledged_at IS NOT NULL)
        ORDER BY run.alert_id
        LIMIT 1
    ) IS NOT NULL
    -- Recoveries: one_live_alert_per_heartbeat, as in recovered_alerts.sql.
    OR (
        SELECT alert.integration_id FROM alerting_alert AS alert
        JOIN integrations_heartbeat AS heartbeat ON heartbeat.integration_id = alert.integration_id
        WHERE alert.status IN ('open', 'assigned', 'on_hold') AND alert.integration_type = 'heartbeat'
          AND heartbeat.state IN ('waiting', 'healthy')
        ORDER BY alert.integration_id
        LIMIT 1
    ) IS NOT NULL
    -- Events that waited long enough, and alerts to which no event came in time: event_key_due, alert_closes_by_itself.
    OR (
        SELECT due_at FROM integrations_eventkey WHERE due_at <= %(now)s ORDER BY due_at LIMIT 1
    ) IS NOT NULL
    OR (
        SELECT closes_at FROM alerting_alert
        WHERE status IN ('open', 'assigned', 'on_hold') AND closes_at <= %(now)s
        ORDER BY closes_at
        LIMIT 1
    ) IS NOT NULL
    -- Messages to chats: chat_message_due; changes that are to be written there: chat_thread_open, timeline_by_alert.
    OR EXISTS (SELECT FROM integrations_chatmessage WHERE next_attempt_at <= %(now)s)
    OR (
        SELECT thread.alert_id FROM integrations_chatthread AS thread
        -- With its limit, it is looked up for each thread by itself, however many entries there are in all.
        CROSS JOIN LATERAL (
            SELECT FROM alerting_timelineentry AS entry
            WHERE entry.alert_id = thread.alert_id AND entry.id > thread.seen_entry AND entry.kind = ANY (%(chat_kinds)s)
            LIMIT 1
        ) AS change
        WHERE thread.is_open
        ORDER BY thread.alert_id
        LIMIT 1
    ) IS NOT NULL
    -- Mails to be read: inbound_share. A lease that ends after a new one's end was given before the clock was set back.
    -- Planning takes longer than reading, so partitions of days to come are left out.
    OR EXISTS (
        SELECT FROM integrations_inboundevent
        WHERE received_at < %(tomorrow)s AND state = 'waiting'
          AND (claimed_until IS NULL OR claimed_until <= %(now)s OR claimed_until > %(lease_end)s)
    )
    -- Maintenance that begins: window_to_apply.
    OR EXISTS (SELECT FROM integrations_maintenancewindow WHERE applied_at IS NULL AND starts_at <= %(now)s)
    -- Paging tests whose time is over: one_live_test_per_integration.
    OR EXISTS (
        SELECT FROM alerting_alert
        WHERE is_test AND status IN ('open', 'assigned', 'on_hold') AND opened_at <= %(tests_since)s
    )
    -- Our own outages, to be applied and mailed: outage_to_apply, outage_to_mail.
    OR EXISTS (SELECT FROM integrations_outage WHERE done_at IS NULL)
    OR EXISTS (SELECT FROM integrations_outage WHERE mail_due)
    -- Steps back of the database's clock: clock_step_undone.
    OR EXISTS (SELECT FROM integrations_clockstep WHERE done_at IS NULL)
