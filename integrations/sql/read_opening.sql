-- Read what decides whether and for whom an integration's events open alerts, once its state is locked.
-- Index: the integration's primary key, the unique indexes of its recipients, open_member_by_key, opt_out_once.
SELECT integration.enabled,
    EXISTS (
        SELECT
        FROM integrations_maintenancewindow AS covering
        WHERE covering.organization_id = integration.organization_id
          AND covering.starts_at <= %(now)s::timestamptz AND covering.ends_at > %(now)s::timestamptz
          AND (
              covering.all_integrations OR covering.tags && integration.tags OR EXISTS (
                  SELECT
                  FROM integrations_maintenancewindow_integrations AS covered
                  WHERE covered.maintenancewindow_id = covering.id AND covered.inboundintegration_id = integration.id
              )
          )
    ) AS is_suspended,
    EXISTS (
        SELECT
        FROM alerting_alertmember AS member
        WHERE member.integration_id = integration.id AND member.is_open AND member.key_hash <> ''
    ) AS may_have_members,
    integration.escalation_policy_id,
    integration.response_play_id,
    integration.priority,
    ARRAY(
        SELECT recipient.group_id
        FROM integrations_inboundintegration_recipient_groups AS recipient
        WHERE recipient.inboundintegration_id = integration.id
        ORDER BY recipient.id
    ) AS group_ids,
    ARRAY(
        SELECT recipient.user_id
        FROM integrations_inboundintegration_recipient_users AS recipient
        WHERE recipient.inboundintegration_id = integration.id
        ORDER BY recipient.id
    ) AS user_ids,
    ARRAY(SELECT user_id FROM accounts_optout WHERE integration_id = integration.id) AS opted_out
FROM integrations_inboundintegration AS integration
WHERE integration.id = %(integration)s
