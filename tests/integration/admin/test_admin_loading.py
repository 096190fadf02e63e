"""Which processes load the pages of the admin site."""

import json
import os
import subprocess
import sys
from pathlib import Path

from django.contrib import admin

from heartbeat_project import urls

ROOT = Path(__file__).parents[3]
PAGES_BEFORE_AND_AFTER_CHECKS = """
import json, sys
from heartbeat_project.celery import app
app.loader.import_default_modules()
from django.contrib import admin
from django.core.checks import run_checks
def pages():
    return sorted(model._meta.label for model in admin.site._registry)
before = pages()
modules = [name for name in sys.modules if name.startswith(("integrations.admin", "escalation.admin", "accounts.admin"))]
run_checks(tags=["admin"])
print(json.dumps([before, modules, pages()]))
"""


def test_a_worker_loads_no_pages_and_the_checks_load_all_of_them():
    """Workers need memory for them otherwise, and pages that are not loaded could not be checked."""
    done = subprocess.run(
        [sys.executable, "-c", PAGES_BEFORE_AND_AFTER_CHECKS],
        cwd=ROOT,
        env=os.environ | {"CELERY_SKIP_CHECKS": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    before, modules, after = json.loads(done.stdout)
    assert before == modules == []
    assert urls.urlpatterns
    assert after == sorted(model._meta.label for model in admin.site._registry) != []
