-- The columns that the audit log will have, beside those there are. Batches fill them (auditcopy.go) while
-- daemons of before go on adding entries, until rows.sql drops the old ones. The table stays, with its
-- partitions and privileges.
ALTER TABLE audit_log
    ADD COLUMN IF NOT EXISTS actor_kind    TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS actor_role    TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS actor_serial  BYTEA,
    ADD COLUMN IF NOT EXISTS actor_key_id  BYTEA,
    ADD COLUMN IF NOT EXISTS lineage       TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS object_kind   TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS object_id     TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS object_serial BYTEA;
