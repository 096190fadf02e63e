# One image for web, engine, delivery, beat and migrations, which docker-compose.yml starts. It contains no database.
FROM python:3.13.16-slim-bookworm

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
# collectstatic reads the settings but does not connect. A new volume gets the owner of the folder on which it is mounted.
RUN SECRET_KEY=build DATABASE_URL=postgres://build@/build REDIS_URL=redis://build/0 \
        python manage.py collectstatic --noinput \
    && python -m compileall -q -j 0 . \
    && useradd --system --no-create-home --home-dir /nonexistent heartbeat \
    && install --directory --owner heartbeat --mode 700 /var/lib/heartbeat

USER heartbeat
EXPOSE 8000
CMD ["sh", "-c", "exec python -m heartbeat_project.serve --host $HEARTBEAT_HOST --port $HEARTBEAT_PORT"]
