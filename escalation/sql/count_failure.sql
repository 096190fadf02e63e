-- Count a provider's failure (anew after a quiet time) and open its circuit from the limit on, after each pause twice as long.
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
-- What was under way when the circuit opened says nothing new.
WHERE circuit.failures < %(limit)s OR circuit.failed_at > %(now)s
   OR circuit.failed_at
      + LEAST(%(pause)s::interval * 2 ^ LEAST(circuit.failures - %(limit)s, 10), %(longest)s::interval) <= %(now)s
