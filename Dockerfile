# One image for web, engine, delivery, beat and migrations; docker-compose.yml starts them. It holds no database.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=heartbeat_project.settings \
    HEARTBEAT_STATIC_ROOT=/app/staticfiles \
    HEARTBEAT_HOST=0.0.0.0 \
    HEARTBEAT_PORT=8000
WORKDIR /app

COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --require-hashes --only-binary :all: --requirement requirements.txt \
    && python -m compileall -q -j 0 /usr/local/lib/python3.13/site-packages

COPY . .
# Collecting reads the settings and connects nowhere.
RUN SECRET_KEY=build DATABASE_URL=postgres://build@/build REDIS_URL=redis://build/0 \
        python manage.py collectstatic --noinput \
    && python -m compileall -q -j 0 . \
    && useradd --system --no-create-home --home-dir /nonexistent heartbeat

USER heartbeat
EXPOSE 8000
CMD ["sh", "-c", "exec granian --host $HEARTBEAT_HOST --port $HEARTBEAT_PORT --workers 1 --interface asgi --no-ws --backpressure 10000 --http1-buffer-size 65536 --http2-max-headers-size 65536 heartbeat_project.asgi:application"]
