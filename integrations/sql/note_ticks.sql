-- Note ticks of a task by Celery. The newest is never in the future: after a step back of the clock, no worker would tick until then.
-- Index: the primary key of integrations_tick.
UPDATE integrations_tick
SET by_celery = by_celery + %(count)s, started_at = least(
        greatest(started_at, statement_timestamp() - %(age)s::interval), statement_timestamp()
    )
WHERE task = %(task)s
