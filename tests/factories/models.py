"""Rows for tests, made through factory-boy; organizations and people come with all that the services give them."""

from datetime import UTC, datetime

import factory

from accounts.models.groups import Group, GroupMember
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.services.users import create_user
from alerting.models.alerts import Alert
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, PolicyRole, ResponsePlay
from escalation.policies.shipped_policies import found_organization
from integrations.heartbeats.edits import create_heartbeat
from integrations.inbound.edits import create_event_integration
from integrations.models.integrations import InboundIntegration

WHEN = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)


class OrganizationFactory(factory.django.DjangoModelFactory):
    """An organization that sends each message by itself; `bundle_seconds=5` bundles as a new one does."""

    class Meta:
        model = Organization

    name = factory.Sequence("Organization {}".format)
    bundle_seconds = 0

    @classmethod
    def _create(cls, model_class, name, bundle_seconds, **more):
        organization = found_organization(name=name, now=WHEN)
        organization.bundle_seconds = bundle_seconds
        organization.save(update_fields=["bundle_seconds"])
        return organization


class UserFactory(factory.django.DjangoModelFactory):
    """A standard user with the role Basic; `roles=["Owner"]` makes the Owner."""

    class Meta:
        model = User

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Person {}".format)
    email = factory.LazyAttributeSequence(lambda o, n: f"{o.name.lower().replace(' ', '.')}.{n}@example.com")
    roles = ("Basic",)

    @classmethod
    def _create(cls, model_class, organization, email, name, roles, **more):
        named = [organization.roles.get(name=role) for role in roles if role != "Owner"]
        return create_user(
            organization, email=email, name=name, now=WHEN, roles=named, is_owner="Owner" in roles, **more
        )


class GroupFactory(factory.django.DjangoModelFactory):
    """A group; `primary`, `secondary` and `managers` are lists of users."""

    class Meta:
        model = Group

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Team {}".format)
    created_at = WHEN

    @classmethod
    def _create(cls, model_class, primary=(), secondary=(), managers=(), **fields):
        group = super()._create(model_class, **fields)
        for role, users in (("primary", primary), ("secondary", secondary), ("manager", managers)):
            for position, user in enumerate(users):
                GroupMember.objects.create(group=group, user=user, role=role, position=position)
        return group


class BridgeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Bridge

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Bridge {}".format)
    phone_number = "+49 30 1234567"
    access_code = "4711#"
    meeting_url = "https://meet.example.com/ops"


class PolicyFactory(factory.django.DjangoModelFactory):
    """A policy; `steps` is a list of dicts for PolicyRole (default: the three roles, five minutes apart)."""

    class Meta:
        model = EscalationPolicy

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Policy {}".format)

    @classmethod
    def _create(cls, model_class, steps=None, **fields):
        policy = super()._create(model_class, **fields)
        default = [
            {"role": "primary"},
            {"role": "secondary", "wait_minutes": 5},
            {"role": "manager", "wait_minutes": 5},
        ]
        for step in default if steps is None else steps:
            PolicyRole.objects.create(policy=policy, **step)
        return policy


class PlayFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ResponsePlay

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Play {}".format)


class HeartbeatFactory(factory.django.DjangoModelFactory):
    """A heartbeat integration of five minutes, made by the service."""

    class Meta:
        model = InboundIntegration

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Job {}".format)
    interval_minutes = 5
    now = WHEN

    @classmethod
    def _create(cls, model_class, organization, **fields):
        if "escalation_policy" not in fields and "response_play" not in fields:
            fields["escalation_policy"] = organization.escalation_policies.order_by("id").first()
        return create_heartbeat(organization, actor=None, **fields)


class ApiIntegrationFactory(factory.django.DjangoModelFactory):
    """An API integration, made by the service."""

    class Meta:
        model = InboundIntegration

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("API {}".format)
    type = "api"
    now = WHEN

    @classmethod
    def _create(cls, model_class, organization, **fields):
        if "escalation_policy" not in fields and "response_play" not in fields:
            fields["escalation_policy"] = organization.escalation_policies.order_by("id").first()
        return create_event_integration(organization, **fields)


class ChatIntegrationFactory(ApiIntegrationFactory):
    """A Chat integration of Slack, made by the service."""

    name = factory.Sequence("Chat {}".format)
    type = "chat"
    platform = "slack"
    secrets = {"signing_secret": "slack-secret", "bot_token": "xoxb-token"}


class AlertFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Alert

    organization = factory.SubFactory(OrganizationFactory)
    subject = factory.Sequence("Alert {}".format)
    short_text = "short"
    long_text = "long"
    source = "Manual"
    source_name = "by hand"
    source_id = "1"
    opened_at = WHEN
