-- Whether the installation is held since a restore.
-- Index: one_restore_is_held, which has at most one row.
SELECT EXISTS (SELECT FROM accounts_restore WHERE released_at IS NULL)
