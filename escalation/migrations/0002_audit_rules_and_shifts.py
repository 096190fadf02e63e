from django.db import migrations

from heartbeat_project.kernel.audit_triggers import AuditTable, part_of

# A tier is a part of its play, and who is in a tier is shown with the tier's id.
TIER_OF_PLAY = """
SELECT play.id, play.name, play.organization_id, '{}'::text[]
FROM (SELECT) AS one LEFT JOIN escalation_playtier AS tier ON tier.id = ($1->>'playtier_id')::bigint
LEFT JOIN escalation_responseplay AS play ON play.id = tier.play_id
"""
# The address of a calendar is a secret.
SHIFT = """
SELECT ($1->>'id')::bigint, $1->>'name', team.organization_id, '{calendar_url}'::text[]
FROM (SELECT) AS one LEFT JOIN accounts_group AS team ON team.id = ($1->>'group_id')::bigint
"""
PART_OF_SHIFT = """
SELECT ($1->>'shift_id')::bigint, shift.name, team.organization_id, '{}'::text[]
FROM (SELECT) AS one LEFT JOIN escalation_shift AS shift ON shift.id = ($1->>'shift_id')::bigint
LEFT JOIN accounts_group AS team ON team.id = shift.group_id
"""
OUT_OF_OFFICE = """
SELECT ($1->>'id')::bigint, person.name, person.organization_id, '{}'::text[]
FROM (SELECT) AS one LEFT JOIN accounts_user AS person ON person.id = ($1->>'user_id')::bigint
"""
# What the reader of calendars notes by itself.
NOTED_BY_ITSELF = (
    *("calendar_due_at", "calendar_read_at", "calendar_error", "calendar_failing_since", "calendar_reported_at"),
    "turn_number",
)


class Migration(migrations.Migration):
    dependencies = [("escalation", "0001_initial"), ("accounts", "0002_audit_log")]

    operations = [
        AuditTable("escalation_escalationpolicy", "escalation_policy", left_out=("version",)),
        AuditTable(
            "escalation_policyrole",
            "escalation_policy",
            found_by=part_of("escalation_escalationpolicy", "policy_id"),
            part="roles",
            left_out=("policy_id",),
        ),
        AuditTable("escalation_responseplay", "response_play", left_out=("version",)),
        AuditTable(
            "escalation_playtier",
            "response_play",
            found_by=part_of("escalation_responseplay", "play_id"),
            part="tiers",
            left_out=("play_id",),
        ),
        AuditTable("escalation_playtier_users", "response_play", found_by=TIER_OF_PLAY, part="tier_users"),
        AuditTable("escalation_playtier_groups", "response_play", found_by=TIER_OF_PLAY, part="tier_groups"),
        AuditTable("escalation_shift", "shift", found_by=SHIFT, left_out=NOTED_BY_ITSELF),
        AuditTable(
            "escalation_shiftwindow", "shift", found_by=PART_OF_SHIFT, part="windows", left_out=("shift_id",)
        ),
        AuditTable(
            "escalation_shiftperson",
            "shift",
            found_by=PART_OF_SHIFT,
            part="people",
            left_out=("shift_id", "turn_order"),
        ),
        AuditTable("escalation_outofoffice", "out_of_office", found_by=OUT_OF_OFFICE),
        AuditTable(
            "escalation_calendarfeed",
            "user",
            found_by=part_of("accounts_user", "user_id", secrets="token"),
            part="calendar_feeds",
            left_out=("user_id",),
        ),
        AuditTable(
            "escalation_oncallremindersettings",
            "user",
            found_by=part_of("accounts_user", "user_id"),
            part="*",
            left_out=("user_id",),
        ),
    ]
