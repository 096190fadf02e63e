"""The next release, for the tests of upgrades: the migrations of this one, and one of each kind that may be interrupted.

A process takes it for the installed release with DJANGO_SETTINGS_MODULE=tests.upgrades.settings; a test with the
setting MIGRATION_MODULES.
"""

MIGRATION_MODULES = {"accounts": "tests.upgrades.accounts"}
