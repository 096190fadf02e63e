"""Every setting, driven by the environment; each variable is read once here and listed in `.env.example`."""

from email.utils import parseaddr
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from heartbeat_project.logs import logging_config

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

# -- who we are ------------------------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("HEARTBEAT_DEBUG", default=False)
HOST = env.str("HEARTBEAT_HOST", default="127.0.0.1")
PORT = env.int("HEARTBEAT_PORT", default=8000)
BASE_URL = env.str("HEARTBEAT_BASE_URL", default=f"http://{HOST}:{PORT}").rstrip("/")
_base = urlsplit(BASE_URL)
if _base.scheme not in {"http", "https"} or not _base.hostname:
    raise ImproperlyConfigured("HEARTBEAT_BASE_URL must be an address such as https://heartbeat.example.org")
ALLOWED_HOSTS = env.list("HEARTBEAT_ALLOWED_HOSTS", default=[_base.hostname, "localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [f"{_base.scheme}://{_base.netloc}"]
# Only behind a proxy that sets it; otherwise anyone could claim to be on https.
if env.bool("HEARTBEAT_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _base.scheme == "https"
SESSION_COOKIE_NAME = "heartbeat_session"
CSRF_COOKIE_NAME = "heartbeat_csrf"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# -- what it is made of ----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "heartbeat_project.apps.ProjectConfig",
    "integrations",
    "escalation",
    "alerting",
    "accounts",
    "heartbeat_project.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_celery_beat",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
if find_spec("django_migration_linter"):  # a development tool
    INSTALLED_APPS += ["django_migration_linter"]
MIDDLEWARE = [
    "heartbeat_project.logs.RequestLog",
    "heartbeat_project.middleware.Probes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "heartbeat_project.middleware.ReaderTimeZone",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "heartbeat_project.urls"
ASGI_APPLICATION = "heartbeat_project.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "/static/"
STATIC_ROOT = env.str("HEARTBEAT_STATIC_ROOT", default="") or None
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served from where the files stand, unless they were collected: a start needs no collecting step.
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = DEBUG
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# -- the store -------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL")}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database (postgres://user:password@host/name)")
DATABASES["default"].setdefault("OPTIONS", {}).update(
    {
        # An async server gives every request a thread of its own, so connections live in a pool, not in threads.
        "pool": {"min_size": 1, "max_size": env.int("HEARTBEAT_DB_POOL", default=10), "timeout": 3.0},
        "connect_timeout": 3,
    },
)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["ATOMIC_REQUESTS"] = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- people ----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.EntitlementBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
OWNER_EMAIL = env.str("HEARTBEAT_OWNER_EMAIL", default="owner@example.com")
OWNER_PASSWORD = env.str("HEARTBEAT_OWNER_PASSWORD", default="")
OWNER_API_KEY = env.str("HEARTBEAT_OWNER_API_KEY", default="")

# -- mail ------------------------------------------------------------------------------------------------------------
EMAIL_URL = env.str("EMAIL_URL", default="")
STORED_MAIL_BACKEND = "escalation.channels.outbox.EmailBackend"
if EMAIL_URL:
    vars().update(env.email_url("EMAIL_URL"))
else:
    EMAIL_BACKEND = STORED_MAIL_BACKEND
EMAIL_TIMEOUT = 10
# How many messages a delivery worker has under way at once on each channel; kept messages go one after the other.
CHANNEL_CONCURRENCY = {"email": env.int("HEARTBEAT_EMAIL_CONCURRENCY", default=8) if EMAIL_URL else 1}
DEFAULT_FROM_EMAIL = env.str("HEARTBEAT_FROM_EMAIL", default=f"Heartbeat <heartbeat@{_base.hostname}>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# -- what goes out over HTTP -----------------------------------------------------------------------------------------
OUTGOING_TIMEOUT_SECONDS = env.float("HEARTBEAT_OUTGOING_TIMEOUT", default=15.0)
try:
    OUTGOING_ALLOW = [ip_network(network) for network in env.list("HEARTBEAT_OUTGOING_ALLOW", default=[])]
except ValueError as error:
    raise ImproperlyConfigured(
        f"HEARTBEAT_OUTGOING_ALLOW must hold networks such as 10.1.0.0/16,fd00::/8 ({error})"
    ) from error

# Each kind's providers are tried in this order; those that are set up, unless named.
TWILIO_URL = env.str("HEARTBEAT_TWILIO_URL", default="https://api.twilio.com").rstrip("/")
TWILIO_ACCOUNT_SID = env.str("HEARTBEAT_TWILIO_ACCOUNT_SID", default="")
TWILIO_AUTH_TOKEN = env.str("HEARTBEAT_TWILIO_AUTH_TOKEN", default="")
TWILIO_FROM = env.str("HEARTBEAT_TWILIO_FROM", default="")
TWILIO_VOICE_FROM = env.str("HEARTBEAT_TWILIO_VOICE_FROM", default="" if TWILIO_FROM.startswith("MG") else TWILIO_FROM)
GATEWAY_URL = env.str("HEARTBEAT_GATEWAY_URL", default="")
GATEWAY_BODY = env.json("HEARTBEAT_GATEWAY_BODY", default=None)
GATEWAY_HEADERS = env.json("HEARTBEAT_GATEWAY_HEADERS", default={})
_sms = {"twilio": TWILIO_ACCOUNT_SID and TWILIO_FROM, "gateway": GATEWAY_URL}
_voice = {"twilio": TWILIO_ACCOUNT_SID and TWILIO_VOICE_FROM}
SMS_PROVIDERS = env.list("HEARTBEAT_SMS_PROVIDERS", default=[name for name, ready in _sms.items() if ready])
VOICE_PROVIDERS = env.list("HEARTBEAT_VOICE_PROVIDERS", default=[name for name, ready in _voice.items() if ready])
if not {*SMS_PROVIDERS, *VOICE_PROVIDERS} <= {"twilio", "gateway"}:
    raise ImproperlyConfigured("HEARTBEAT_SMS_PROVIDERS and HEARTBEAT_VOICE_PROVIDERS know twilio and gateway")
VAPID_PRIVATE_KEY = env.str("HEARTBEAT_VAPID_PRIVATE_KEY", default="")
VAPID_CONTACT = parseaddr(DEFAULT_FROM_EMAIL)[1]
APPRISE_SERVICES = env.list(
    "HEARTBEAT_APPRISE_SERVICES",
    default=[
        *("discord", "gchat", "gotify", "gotifys", "matrix", "matrixs", "mmost", "mmosts", "ntfy", "ntfys", "opsgenie"),
        *("pagerduty", "pbul", "pover", "rocket", "rockets", "signal", "signals", "tgram", "threema", "zulip"),
    ],
)

# -- what comes back from people -------------------------------------------------------------------------------------
RESPOND_DAYS = env.int("HEARTBEAT_RESPOND_DAYS", default=7)
if RESPOND_DAYS < 1:
    raise ImproperlyConfigured("HEARTBEAT_RESPOND_DAYS must be 1 or more: the days for which a link in a message works")
# Each of these doors is closed until it is set up.
SLACK_SIGNING_SECRET = env.str("HEARTBEAT_SLACK_SIGNING_SECRET", default="")
REPLY_ADDRESS = env.str("HEARTBEAT_REPLY_ADDRESS", default="")
INBOUND_MAIL_SECRET = env.str("HEARTBEAT_INBOUND_MAIL_SECRET", default="")
if REPLY_ADDRESS and (REPLY_ADDRESS.count("@") != 1 or len(REPLY_ADDRESS.partition("@")[0]) > 18):
    raise ImproperlyConfigured("HEARTBEAT_REPLY_ADDRESS must be an address with at most 18 characters before the @")

# -- the doorbell ----------------------------------------------------------------------------------------------------
# Celery wakes workers up and nothing else: due times are rows. So results are off, and a message is acknowledged late
# and thrown away when it is stale.
CELERY_BROKER_URL = env.str("REDIS_URL")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 5,
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 1,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "engine"
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

# -- what we promise -------------------------------------------------------------------------------------------------
PING_MAX_BODY_BYTES = 1024 * 1024
PING_MAX_WAITING = env.int("HEARTBEAT_PING_MAX_WAITING", default=10_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = PING_MAX_BODY_BYTES
PING_RETENTION_DAYS = env.int("HEARTBEAT_PING_RETENTION_DAYS", default=30)
PING_HOURS_RETENTION_DAYS = env.int("HEARTBEAT_PING_HOURS_RETENTION_DAYS", default=400)
NOTIFICATION_LEASE_SECONDS = env.int("HEARTBEAT_NOTIFICATION_LEASE_SECONDS", default=60)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "heartbeat_project.kernel.api.NewestFirst",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["heartbeat_project.kernel.api.JSON"],
    "DEFAULT_SCHEMA_CLASS": "heartbeat_project.kernel.openapi.Schema",
    "EXCEPTION_HANDLER": "heartbeat_project.kernel.problems.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Heartbeat",
    "DESCRIPTION": "Ping heartbeats and manage what happens when one stays silent. "
    "Sign in with an API key: `Authorization: Bearer <key>` or `api-key: <key>`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "OfferedActionEnum": "escalation.offers.ACTIONS",
        "AlertStatusEnum": "alerting.models.Alert.Status",
        "UserKindEnum": "accounts.models.User.Kind",
        "ContactMethodKindEnum": "accounts.models.ContactMethod.Kind",
        "GroupRoleEnum": "accounts.models.GroupRole",
        "ShiftRoleEnum": "escalation.shift_models.SHIFT_ROLES",
    },
}

LOGGING_CONFIG = None
logging_config(level=env.str("HEARTBEAT_LOG_LEVEL", default="INFO"), json=env.bool("HEARTBEAT_LOG_JSON", default=True))
