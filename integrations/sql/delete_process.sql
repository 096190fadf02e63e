-- Delete the row of a web process that ends, so that detection does not wait for its pulses.
-- Index: the primary key of integrations_ingestprocess.
DELETE FROM integrations_ingestprocess WHERE process = %(process)s
RETURNING process
