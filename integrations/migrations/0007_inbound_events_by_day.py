"""Partition the inbound events by day, so that old days are dropped and not deleted row by row."""

from django.db import migrations

# The default partition takes what has no day of its own, so that no event is refused.
FORWARD = """
ALTER TABLE integrations_inboundevent RENAME TO integrations_inboundevent_before;
CREATE SEQUENCE integrations_inboundevent_number AS bigint;
CREATE TABLE integrations_inboundevent (LIKE integrations_inboundevent_before INCLUDING DEFAULTS)
    PARTITION BY RANGE (received_at);
ALTER TABLE integrations_inboundevent ALTER COLUMN id SET DEFAULT nextval('integrations_inboundevent_number');
ALTER SEQUENCE integrations_inboundevent_number OWNED BY integrations_inboundevent.id;
CREATE TABLE integrations_inboundevent_other PARTITION OF integrations_inboundevent DEFAULT;
INSERT INTO integrations_inboundevent SELECT * FROM integrations_inboundevent_before;
SELECT setval('integrations_inboundevent_number', COALESCE(max(id), 0) + 1, false) FROM integrations_inboundevent_before;
DROP TABLE integrations_inboundevent_before;
ALTER TABLE integrations_inboundevent ADD CONSTRAINT integrations_inboundevent_pkey PRIMARY KEY (id, received_at);
CREATE INDEX inbound_by_integration ON integrations_inboundevent (integration_id, id DESC);
CREATE INDEX inbound_by_organization ON integrations_inboundevent (organization_id, id DESC)
    WHERE organization_id IS NOT NULL;
CREATE INDEX inbound_next ON integrations_inboundevent (attempts, turn, id)
    WHERE organization_id IS NOT NULL AND state = 'waiting';
CREATE INDEX inbound_share ON integrations_inboundevent (organization_id, turn) INCLUDE (size) WHERE state = 'waiting';
CREATE INDEX inbound_by_message ON integrations_inboundevent (answers) WHERE answers IS NOT NULL AND state = 'waiting';
CREATE INDEX inbound_unreadable ON integrations_inboundevent (id DESC) WHERE state = 'unreadable';
CREATE INDEX inbound_by_external_id ON integrations_inboundevent (integration_id, external_id) WHERE external_id <> '';
"""


class Migration(migrations.Migration):
    dependencies = [("integrations", "0006_events")]

    operations = [migrations.RunSQL(FORWARD)]
