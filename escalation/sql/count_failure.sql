-- Count a failure of a provider, from one again after a quiet time; from the limit on, open its circuit breaker for a pause.
-- Index: escalation_circuitbreaker_pkey, by the provider.
INSERT INTO escalation_circuitbreaker AS circuit_breaker (provider, channel, address, failures, failed_at, open_until)
VALUES (%(provider)s, %(channel)s, %(address)s, 1, %(now)s, NULL)
ON CONFLICT (provider) DO UPDATE
SET failures = CASE WHEN circuit_breaker.failed_at < %(forget)s THEN 1 ELSE circuit_breaker.failures + 1 END,
    failed_at = %(now)s,
    open_until = CASE
        WHEN circuit_breaker.failed_at >= %(forget)s AND circuit_breaker.failures + 1 >= %(limit)s
        THEN %(now)s::timestamptz + %(pause)s::interval
    END
-- Failures of sends that were under way when the circuit breaker opened do not prolong the pause.
WHERE circuit_breaker.failures < %(limit)s OR circuit_breaker.failed_at > %(now)s
   OR circuit_breaker.failed_at + %(pause)s::interval <= %(now)s
