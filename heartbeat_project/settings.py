"""Every setting, driven by the environment; each variable is read once here and listed in `.env.example`."""

from email.utils import parseaddr
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from heartbeat_project.configuration import Environment
from heartbeat_project.kernel.addresses import is_loopback
from heartbeat_project.logs import logging_config
from heartbeat_project.variables import base_url_error

env = Environment()
BASE_DIR = Path(__file__).resolve().parent.parent

# -- addresses and keys ----------------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY")
# Former keys: their signatures stay valid, and new ones are made with SECRET_KEY.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG = env.bool("HEARTBEAT_DEBUG", default=False)
HOST = env.str("HEARTBEAT_HOST", default="127.0.0.1")
PORT = env.number("HEARTBEAT_PORT", default=8000, maximum=65535)
# A web process sends its pulses to this address; None: it finds the address out, because an application server that
# was started in another way may listen elsewhere.
LISTENING_ADDRESS = (HOST, PORT) if "HEARTBEAT_PORT" in env.ENVIRON else None
BASE_URL = env.address(
    "HEARTBEAT_BASE_URL",
    schemes=("http", "https"),
    default=f"http://{f'[{HOST}]' if ':' in HOST else HOST}:{PORT}",
    example="https://heartbeat.example.org",
)
if base_error := base_url_error(BASE_URL):
    raise ImproperlyConfigured(base_error)
_base = urlsplit(BASE_URL)
# The path at which the product stands behind a proxy, such as /heartbeat; empty: it has the whole host. `request.path`
# begins with it, and `request.path_info` does not.
BASE_PATH = _base.path
FORCE_SCRIPT_NAME = BASE_PATH or None
ALLOWED_HOSTS = env.list("HEARTBEAT_ALLOWED_HOSTS", default=[_base.hostname, "localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [f"{_base.scheme}://{_base.netloc}"]
if "HEARTBEAT_BEHIND_PROXY" in env.ENVIRON:
    raise ImproperlyConfigured(
        "HEARTBEAT_BEHIND_PROXY was removed. List the addresses or networks of your proxies in "
        "HEARTBEAT_TRUSTED_PROXIES instead, such as 10.0.0.5,192.168.7.0/24."
    )
TRUSTED_PROXIES = env.networks("HEARTBEAT_TRUSTED_PROXIES", example="10.0.0.5,192.168.7.0/24")
# True if requests certainly come through a proxy that TRUSTED_PROXIES does not name: then a request that seems to come
# from this machine may come from anywhere.
HAS_UNKNOWN_PROXY = not TRUSTED_PROXIES and (
    _base.scheme == "https" or (is_loopback(HOST) and not is_loopback(_base.hostname or ""))
)
# middleware.TrueSender removes these headers unless a trusted proxy set them.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _base.scheme == "https"
SESSION_COOKIE_NAME = "heartbeat_session"
CSRF_COOKIE_NAME = "heartbeat_csrf"
CSRF_FAILURE_VIEW = "heartbeat_project.console.views.faults.form_refused"
# Other products on the same host do not get our cookies.
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = BASE_PATH or "/"
MESSAGE_STORAGE = "heartbeat_project.sub_path.Messages"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# -- applications ----------------------------------------------------------------------------------------------------
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
]
if find_spec("django_migration_linter"):  # a development tool
    INSTALLED_APPS += ["django_migration_linter"]
# Our SecurityHeaders sends HSTS and redirects: it knows how a request reached the proxy, and does not redirect pings.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
MIDDLEWARE = [
    "heartbeat_project.middleware.TrueSender",
    "heartbeat_project.logs.RequestLog",
    "heartbeat_project.middleware.Probes",
    "heartbeat_project.middleware.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "heartbeat_project.middleware.ReadableRequest",
    "heartbeat_project.middleware.CompressedApi",
    "heartbeat_project.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "heartbeat_project.middleware.KnownHosts",
    "heartbeat_project.middleware.FormsOfStrangers",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "heartbeat_project.middleware.AuditActor",
    "heartbeat_project.middleware.Turns",
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
STATIC_URL = f"{BASE_PATH}/static/"
STATIC_ROOT = env.str("HEARTBEAT_STATIC_ROOT", default="") or None
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "heartbeat_project.static_files.HashedNames"},
}
# Unless they were collected, static files are served from the source folders, so that a start needs no extra step.
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = DEBUG
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# -- the database ----------------------------------------------------------------------------------------------------
DATABASES = {"default": env.database()}
# Releases the locks of a worker that froze or lost its machine within a transaction: until then, pings of the locked
# heartbeats are refused, and no other worker judges them.
_GONE_AFTER = "-c idle_in_transaction_session_timeout=60s"
DATABASES["default"].setdefault("OPTIONS", {}).update(
    {
        "options": f"{_GONE_AFTER} {DATABASES['default']['OPTIONS'].get('options', '')}".strip(),
        # An async server uses a new thread for every request, so connections are kept in a pool and not in threads.
        "pool": {
            "min_size": 1,
            "max_size": env.number("HEARTBEAT_DB_POOL", default=10),
            "timeout": 3.0,
            # Seconds for which the pool retries with growing pauses; the next request then starts over. With the
            # default of five minutes, the return of a database that was away for four minutes would be noticed up to
            # four minutes late.
            "reconnect_timeout": 1.0,
        },
        "connect_timeout": 3,
        # The audit log distinguishes our processes from somebody who changes the database directly by this name.
        "application_name": "heartbeat",
        # Milliseconds after which a server that disappeared without closing the connection is given up (TCP only).
        "tcp_user_timeout": 10_000,
    },
)
# For pages and the API of a web process: whatever the request, its connection returns to the pool soon.
WEB_DATABASE_LIMITS = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=10s"
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["ATOMIC_REQUESTS"] = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- people ----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.EntitlementBackend"]
PASSWORD_HASHERS = [
    "accounts.hashers.Argon2",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "accounts.passwords.DifferentCharacters"},
]
LOGIN_URL = LOGOUT_REDIRECT_URL = f"{BASE_PATH}/login/"
LOGIN_REDIRECT_URL = f"{BASE_PATH}/"
OWNER_EMAIL = env.str("HEARTBEAT_OWNER_EMAIL", default="owner@example.com")
OWNER_PASSWORD = env.str("HEARTBEAT_OWNER_PASSWORD", default="")
OWNER_API_KEY = env.str("HEARTBEAT_OWNER_API_KEY", default="")
if OWNER_API_KEY and (len(OWNER_API_KEY) < 32 or not OWNER_API_KEY.isascii() or not OWNER_API_KEY.isprintable()):
    raise ImproperlyConfigured(
        "HEARTBEAT_OWNER_API_KEY must have at least 32 characters, such as `openssl rand -hex 32` prints."
    )

# -- mail ------------------------------------------------------------------------------------------------------------
EMAIL_URL = env.str("EMAIL_URL", default="")
STORED_MAIL_BACKEND = "escalation.notifications.providers.stored_mail_backend.EmailBackend"
if EMAIL_URL:
    vars().update(env.mail())
else:
    EMAIL_BACKEND = STORED_MAIL_BACKEND
if vars()["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend":
    # Django's backend, with one time limit for a whole mail, however slowly the server answers.
    EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
# How many messages a delivery worker sends at once on each channel; stored messages are written one after the other.
# Sends that take longer than half a second do not count, unless a number is set: then it is a limit of connections.
CHANNEL_CONCURRENCY = {"email": env.number("HEARTBEAT_EMAIL_CONCURRENCY", default=8) if EMAIL_URL else 1}
CHANNEL_SLOW_SENDS = {"email": 0} if env.str("HEARTBEAT_EMAIL_CONCURRENCY", default="") else {}
DEFAULT_FROM_EMAIL = env.str("HEARTBEAT_FROM_EMAIL", default=f"Heartbeat <heartbeat@{_base.hostname}>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
# The address for mails about the installation itself; empty: the first Owner's.
OPERATOR_EMAIL = env.str("HEARTBEAT_OPERATOR_EMAIL", default="").strip()
if OPERATOR_EMAIL and (parseaddr(OPERATOR_EMAIL)[1] != OPERATOR_EMAIL or "@" not in OPERATOR_EMAIL):
    raise ImproperlyConfigured("HEARTBEAT_OPERATOR_EMAIL must be one e-mail address, without a name")

# -- monitoring of the installation ----------------------------------------------------------------------------------
DATA_DIR = env.str("HEARTBEAT_DATA_DIR", default="")
# Set by script/server, whose supervisor then watches as well.
SUPERVISED = env.bool("HEARTBEAT_SUPERVISED", default=False)
STANDSTILL_SECONDS = env.float("HEARTBEAT_STANDSTILL_SECONDS", default=120.0)
if not 1 <= STANDSTILL_SECONDS <= 86_400:
    raise ImproperlyConfigured("HEARTBEAT_STANDSTILL_SECONDS must be a number of seconds from 1 to 86400")
WATCHDOG_URL = env.str("HEARTBEAT_WATCHDOG_URL", default="").strip()
if WATCHDOG_URL and (urlsplit(WATCHDOG_URL).scheme not in {"http", "https"} or not urlsplit(WATCHDOG_URL).hostname):
    raise ImproperlyConfigured(
        "HEARTBEAT_WATCHDOG_URL must be an address such as https://heartbeat.example.net/Heartbeat/…"
    )

# For clients that read /metrics over the network; programs on this machine need none.
METRICS_TOKEN = env.str("HEARTBEAT_METRICS_TOKEN", default="").strip()
if METRICS_TOKEN and len(METRICS_TOKEN) < 16:
    raise ImproperlyConfigured("HEARTBEAT_METRICS_TOKEN must have 16 characters or more.")

# -- outgoing HTTP ---------------------------------------------------------------------------------------------------
# For one request; a whole send takes at most 30 s.
OUTGOING_TIMEOUT_SECONDS = env.float("HEARTBEAT_OUTGOING_TIMEOUT", default=15.0)
if not 0 < OUTGOING_TIMEOUT_SECONDS < float("inf"):
    raise ImproperlyConfigured("HEARTBEAT_OUTGOING_TIMEOUT must be a number of seconds greater than 0.")
OUTGOING_ALLOW = env.networks("HEARTBEAT_OUTGOING_ALLOW", example="10.1.0.0/16,fd00::/8")

# Providers are tried in the order of SMS_PROVIDERS and VOICE_PROVIDERS; the default is those that are set up.
TWILIO_URL = env.address(
    "HEARTBEAT_TWILIO_URL",
    schemes=("http", "https"),
    default="https://api.twilio.com",
    example="https://api.twilio.com",
)
TWILIO_ACCOUNT_SID = env.str("HEARTBEAT_TWILIO_ACCOUNT_SID", default="")
TWILIO_AUTH_TOKEN = env.str("HEARTBEAT_TWILIO_AUTH_TOKEN", default="")
TWILIO_FROM = env.str("HEARTBEAT_TWILIO_FROM", default="")
TWILIO_VOICE_FROM = env.str("HEARTBEAT_TWILIO_VOICE_FROM", default="" if TWILIO_FROM.startswith("MG") else TWILIO_FROM)
GATEWAY_URL = env.str("HEARTBEAT_GATEWAY_URL", default="")
GATEWAY_BODY = env.json("HEARTBEAT_GATEWAY_BODY", default=None)
GATEWAY_HEADERS = env.json("HEARTBEAT_GATEWAY_HEADERS", default={})
_sms = {"twilio": TWILIO_ACCOUNT_SID and TWILIO_FROM, "gateway": GATEWAY_URL}
_voice = {"twilio": TWILIO_ACCOUNT_SID and TWILIO_VOICE_FROM}
SMS_PROVIDERS = env.list("HEARTBEAT_SMS_PROVIDERS", default=[name for name, is_set_up in _sms.items() if is_set_up])
VOICE_PROVIDERS = env.list(
    "HEARTBEAT_VOICE_PROVIDERS", default=[name for name, is_set_up in _voice.items() if is_set_up]
)
if not {*SMS_PROVIDERS, *VOICE_PROVIDERS} <= {"twilio", "gateway"}:
    raise ImproperlyConfigured("HEARTBEAT_SMS_PROVIDERS and HEARTBEAT_VOICE_PROVIDERS may list twilio and gateway.")
VAPID_PRIVATE_KEY = env.str("HEARTBEAT_VAPID_PRIVATE_KEY", default="")
VAPID_CONTACT = parseaddr(DEFAULT_FROM_EMAIL)[1]
APPRISE_SERVICES = env.list(
    "HEARTBEAT_APPRISE_SERVICES",
    default=[
        *("discord", "gchat", "gotify", "gotifys", "matrix", "matrixs", "mmost", "mmosts", "ntfy", "ntfys", "opsgenie"),
        *("pagerduty", "pbul", "pover", "rocket", "rockets", "signal", "signals", "tgram", "threema", "zulip"),
    ],
)

# -- responses of people ---------------------------------------------------------------------------------------------
RESPOND_DAYS = env.number("HEARTBEAT_RESPOND_DAYS", default=7)
# The endpoints for Slack and for replies by mail are off until these are set.
SLACK_SIGNING_SECRET = env.str("HEARTBEAT_SLACK_SIGNING_SECRET", default="")
REPLY_ADDRESS = env.str("HEARTBEAT_REPLY_ADDRESS", default="")
INBOUND_MAIL_SECRET = env.str("HEARTBEAT_INBOUND_MAIL_SECRET", default="")
if REPLY_ADDRESS and (REPLY_ADDRESS.count("@") != 1 or len(REPLY_ADDRESS.partition("@")[0]) > 18):
    raise ImproperlyConfigured("HEARTBEAT_REPLY_ADDRESS must be an address with at most 18 characters before the @.")

# The domain of the mail addresses of integrations, and where our own SMTP server listens; port 0 turns it off.
MAIL_DOMAIN = env.str("HEARTBEAT_MAIL_DOMAIN", default=_base.hostname or "localhost").lower()
SMTP_HOST = env.str("HEARTBEAT_SMTP_HOST", default="127.0.0.1")
SMTP_PORT = env.number("HEARTBEAT_SMTP_PORT", default=8025, minimum=0, maximum=65535)
if not MAIL_DOMAIN or not set(MAIL_DOMAIN) <= set("abcdefghijklmnopqrstuvwxyz0123456789-."):
    raise ImproperlyConfigured("HEARTBEAT_MAIL_DOMAIN must be a domain such as heartbeat.example.org")
_own_names = {"localhost", SMTP_HOST.lower(), MAIL_DOMAIN, (_base.hostname or "").lower()}
_mail_host = str(vars().get("EMAIL_HOST", "")).lower() if EMAIL_URL else ""
if SMTP_PORT and vars().get("EMAIL_PORT") == SMTP_PORT and (_mail_host in _own_names or is_loopback(_mail_host)):
    raise ImproperlyConfigured(
        "EMAIL_URL leads to Heartbeat's own mail server, which only receives: its mails would come back to it. "
        "Set EMAIL_URL to the server that sends mails, or HEARTBEAT_SMTP_PORT to another port."
    )
# The name by which the mail server in front signs its Authentication-Results; others are not believed.
MAIL_AUTHSERV_ID = env.str("HEARTBEAT_MAIL_AUTHSERV_ID", default="").strip().lower()

# -- Celery ----------------------------------------------------------------------------------------------------------
# Celery only wakes workers up: due times are rows. So results are off, and messages are acknowledged late and expire.
CELERY_BROKER_URL = env.broker()
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Retry forever: meanwhile the workers tick by themselves, and a worker that gave up would only be started again.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# The error of a full broker must not end a worker either.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# A tick that could not be sent is not retried, because the next one follows.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 5,
    # Seconds for which a worker waits before it asks for messages again. The broker serves who has waited longest: with
    # the default of one second, the worker that took the last tick would get the next one as well, and never another
    # one beside it, which would then tick by itself. A worker that stops ends its wait first.
    "polling_interval": 3,
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
CELERY_BEAT_SCHEDULER = "heartbeat_project.beat:Scheduler"

# -- limits and retention --------------------------------------------------------------------------------------------
PING_MAX_BODY_BYTES = 1024 * 1024
PING_MAX_WAITING = env.number("HEARTBEAT_PING_MAX_WAITING", default=10_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = PING_MAX_BODY_BYTES
PING_RETENTION_DAYS = env.number("HEARTBEAT_PING_RETENTION_DAYS", default=30)
PING_HOURS_RETENTION_DAYS = env.number("HEARTBEAT_PING_HOURS_RETENTION_DAYS", default=400)
ALERT_RETENTION_DAYS = env.number("HEARTBEAT_ALERT_RETENTION_DAYS", default=400)
NOTIFICATION_LEASE_SECONDS = env.number("HEARTBEAT_NOTIFICATION_LEASE_SECONDS", default=60)

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
    # `format` is a parameter of ours, see alerts/export/.
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Heartbeat",
    "DESCRIPTION": "Ping heartbeats and manage what happens when one stays silent. "
    "Sign in with an API key: `Authorization: Bearer <key>` or `api-key: <key>`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    # Its paths begin with /api/; this comes before them.
    "SERVERS": [{"url": BASE_PATH}] if BASE_PATH else [],
    "ENUM_NAME_OVERRIDES": {
        "PriorityEnum": "accounts.models.contact_methods.Priority",
        "AllowedActionEnum": "escalation.models.channel_actions.ACTIONS",
        "AlertStatusEnum": "alerting.models.alerts.Alert.Status",
        "UserKindEnum": "accounts.models.users.User.Kind",
        "ContactMethodKindEnum": "accounts.models.contact_methods.ContactMethod.Kind",
        "GroupRoleEnum": "accounts.models.groups.GroupRole",
        "ShiftRoleEnum": "escalation.models.on_call.SHIFT_ROLES",
        "EventIntegrationTypeEnum": "integrations.api.integration_types.EVENT_TYPES",
        "EmailIntegrationTypeEnum": "integrations.api.integration_types.EMAIL_TYPES",
    },
}

LOGGING_CONFIG = None
LOG_LEVEL = env.str("HEARTBEAT_LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured(f"HEARTBEAT_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {LOG_LEVEL!r}.")
logging_config(level=LOG_LEVEL, json=env.bool("HEARTBEAT_LOG_JSON", default=True))
