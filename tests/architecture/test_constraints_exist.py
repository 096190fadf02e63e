"""The database has every index and constraint that the models name: a migration may have lost one on its way."""

import pytest
from django.apps import apps
from django.db import connection

pytestmark = pytest.mark.django_db
APPS = {"accounts", "alerting", "escalation", "integrations"}


def test_every_named_index_and_constraint_is_in_the_database():
    missing = []
    for model in apps.get_models(include_auto_created=True):
        if model._meta.app_label not in APPS:
            continue
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, model._meta.db_table)
        named = [*model._meta.indexes, *model._meta.constraints]
        missing += [f"{model.__name__}: {one.name}" for one in named if one.name not in found]
    assert missing == []
