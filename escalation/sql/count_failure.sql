-- Count a provider's failure (anew after a quiet time) and open its circuit from the limit on, each time twice as long.
-- Index: escalation_circuit_pkey, by the provider.
INSERT INTO escalation_circuit AS circuit (provider, failures, failed_at, open_until)
VALUES (%(provider)s, 1, %(now)s, NULL)
ON CONFLICT (provider) DO UPDATE
SET failures = CASE WHEN circuit.failed_at < %(forget)s THEN 1 ELSE circuit.failures + 1 END,
    failed_at = %(now)s,
    open_until = CASE
        WHEN circuit.failed_at >= %(forget)s AND circuit.failures + 1 >= %(limit)s
        THEN %(now)s::timestamptz
            + LEAST(%(pause)s::interval * 2 ^ LEAST(circuit.failures + 1 - %(limit)s, 10), %(longest)s::interval)
    END
