from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditRelation, part_of

TIER_OF_PLAY = """
SELECT play.id, play.name, play.organization_id, '{}'::text[]
FROM (SELECT) AS one LEFT JOIN escalation_playtier AS tier ON tier.id = ($1->>'playtier_id')::bigint
LEFT JOIN escalation_responseplay AS play ON play.id = tier.play_id
"""
# A tier is replaced when it is changed, so its id says nothing later.
OFFSET_OF_TIER = """
SELECT jsonb_build_object('offset_minutes', offset_minutes) FROM escalation_playtier WHERE id = ($1->>'playtier_id')::bigint
"""
OF_PLAY = {
    "found_by": TIER_OF_PLAY,
    "rows_of": "playtier_id IN (SELECT id FROM escalation_playtier WHERE play_id = $1)",
    "more": OFFSET_OF_TIER,
}
PART_OF_SHIFT = """
SELECT ($1->>'shift_id')::bigint, shift.name, team.organization_id, '{}'::text[]
FROM (SELECT) AS one LEFT JOIN escalation_shift AS shift ON shift.id = ($1->>'shift_id')::bigint
LEFT JOIN accounts_group AS team ON team.id = shift.group_id
"""


class Migration(migrations.Migration):
    dependencies = [("escalation", "0003_messages_by_time"), ("accounts", "0003_audit_relations")]

    operations = [
        AuditRelation(
            "escalation_policyrole",
            "escalation_policy",
            found_by=part_of("escalation_escalationpolicy", "policy_id"),
            part="roles",
            left_out=("policy_id",),
            rows_of="policy_id = $1",
        ),
        AuditRelation(
            "escalation_playtier",
            "response_play",
            found_by=part_of("escalation_responseplay", "play_id"),
            part="tiers",
            left_out=("play_id",),
            rows_of="play_id = $1",
        ),
        AuditRelation("escalation_playtier_users", "response_play", part="tier_users", **OF_PLAY),
        AuditRelation("escalation_playtier_groups", "response_play", part="tier_groups", **OF_PLAY),
        AuditRelation(
            "escalation_shiftwindow",
            "shift",
            found_by=PART_OF_SHIFT,
            part="windows",
            left_out=("shift_id",),
            rows_of="shift_id = $1",
        ),
        AuditRelation(
            "escalation_shiftperson",
            "shift",
            found_by=PART_OF_SHIFT,
            part="people",
            left_out=("shift_id", "turn_order"),
            rows_of="shift_id = $1",
        ),
    ]
