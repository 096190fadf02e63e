"""The web process: one ASGI application."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heartbeat_project.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from integrations.ingest.listener import Listener  # noqa: E402 - needs the app registry

application = Listener(django_application)
