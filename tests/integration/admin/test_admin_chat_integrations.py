"""Configuration > Integrations > Inbound Integrations: the pages of Chat integrations."""

import json

import pytest

from integrations.models.chat import ChatMessage, ChatSettings
from integrations.models.integrations import InboundIntegration
from tests.chats import FORM, command, signed
from tests.integration.admin.test_admin_integrations import ADD, LIST, page_of, said


@pytest.fixture
def pages(here, signed_in):
    return signed_in(here.people["Integrations Admin"])


@pytest.fixture
def filled(here):
    here.objects["integrations_maintenancewindow"].delete()
    return {
        "name": "Operations",
        "platform": "slack",
        "follows": f"policy:{here.objects['escalation_escalationpolicy'].pk}",
        "enabled": "on",
        "open_from": ["command", "mention"],
        "channels": "ops\n\nalerts",
        "command": "/page",
    }


def test_the_page_leads_from_the_manifest_to_the_first_alert(pages, filled, client, now, monkeypatch):
    assert "+ ADD CHAT</a>" in pages.get(f"{LIST}?type=chat").content.decode()
    assert "There is no Chat integration yet" in pages.get(f"{LIST}?type=chat").content.decode()
    assert "Add Chat integration" in pages.get(f"{ADD}?type=chat").content.decode()
    done = pages.post(f"{ADD}?type=chat", filled)
    assert said(done)[0] == "“Operations” is saved. The steps to set up the platform are below."
    made = InboundIntegration.objects.get(name="Operations")
    shown = pages.get(page_of(made)).content.decode()
    assert f'value="http://127.0.0.1:8000/chat/{made.token}"' in shown
    assert "Nothing is taken yet" in shown
    assert "&quot;app_mentions:read&quot;" in shown
    assert "POSTAlert" not in shown
    assert made.chat_settings.channels == ["ops", "alerts"]

    pages.post(page_of(made), filled | {"secret_signing_secret": "slack-secret"})
    shown = pages.get(page_of(made)).content.decode()
    assert "Nothing is taken yet" not in shown
    assert "slack-secret" not in shown
    assert "One is stored, which is never shown." in shown
    pages.post(page_of(made), filled | {"updates": "none"})
    stored = ChatSettings.objects.get()
    assert (stored.secrets, stored.updates) == ({"signing_secret": "slack-secret"}, "none")

    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: now)
    body = command("Disk full")
    client.post(f"/chat/{made.token}", body, content_type=FORM, headers=signed(body))
    assert "Opened an alert" in pages.get(page_of(made)).content.decode()


def test_what_is_wrong_stands_at_its_field(pages, filled):
    wrong = filled | {"secret_command_token": "x", "api_base": "x", "command": "page", "channels": "x" * 101}
    shown = pages.post(f"{ADD}?type=chat", wrong).content.decode()
    assert "This belongs to another platform" in shown
    shown = pages.post(f"{ADD}?type=chat", filled | {"api_base": "x"}).content.decode()
    assert "begins with https://" in shown
    shown = pages.post(f"{ADD}?type=chat", filled | {"command": "page"}).content.decode()
    assert "The command is a slash" in shown
    assert not InboundIntegration.objects.filter(type="chat").exists()


def test_each_platform_has_its_steps_and_what_failed_is_shown(pages, filled, now):
    pages.post(f"{ADD}?type=chat", filled | {"platform": "mattermost"})
    made = InboundIntegration.objects.get(name="Operations")
    shown = pages.get(page_of(made)).content.decode()
    assert "How to set up Mattermost" in shown
    assert "secret_command_token" in shown
    assert "secret_signing_secret" not in shown
    pages.post(page_of(made), filled | {"platform": "generic", "secret_token": "s3cret"})
    shown = pages.get(page_of(made)).content.decode()
    assert "Authorization: Bearer TOKEN" in shown
    assert "s3cret" not in shown
    ChatMessage.objects.create(
        integration=made, kind="root", body={}, created_at=now, last_error="Slack did not take it: <b>not_in_channel"
    )
    shown = pages.get(page_of(made)).content.decode()
    assert "A message was not taken: Slack did not take it: &lt;b&gt;not_in_channel" in shown


def test_who_may_not_manage_integrations_sees_neither_address_nor_manifest(here, signed_in, client_for, pages, filled):
    pages.post(f"{ADD}?type=chat", filled)
    made = InboundIntegration.objects.get(name="Operations")
    row = client_for(here.people["Basic"]).get(f"/api/v1/integrations/{made.pk}/").json()
    assert {name for name, value in row.items() if value is not None} == {"id", "type", "name", "state"}
    assert made.token not in json.dumps(row)
    assert signed_in(here.people["Basic"]).get(page_of(made)).status_code in {302, 403, 404}
