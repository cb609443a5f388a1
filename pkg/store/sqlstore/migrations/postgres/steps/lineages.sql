-- As SQLite's lineages.sql, where each column is explained.

ALTER TABLE ca_certificate ADD COLUMN anchor BYTEA, ADD COLUMN parent_link BYTEA;

CREATE TABLE lineage (
    authority       TEXT   COLLATE "C" NOT NULL CHECK (authority <> ''),
    id              BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    subject         TEXT   COLLATE "C" NOT NULL,
    role            TEXT   COLLATE "C" NOT NULL,
    profile         TEXT   COLLATE "C" NOT NULL,
    state           TEXT   COLLATE "C" NOT NULL,
    ended_at        BIGINT,
    reason          BIGINT NOT NULL,
    newest          BYTEA  NOT NULL CHECK (octet_length(newest) BETWEEN 1 AND 20),
    not_after       BIGINT NOT NULL,
    renewals        BIGINT NOT NULL,
    renewed_at      BIGINT,
    address         TEXT   COLLATE "C" NOT NULL,
    forks           BIGINT NOT NULL,
    forked_at       BIGINT,
    fork_address    TEXT   COLLATE "C" NOT NULL,
    forked_from     TEXT   COLLATE "C" NOT NULL,
    day             BIGINT,
    day_renewals    BIGINT NOT NULL,
    day_revocations BIGINT NOT NULL,
    day_bytes       BIGINT NOT NULL,
    PRIMARY KEY (authority, id)
);

CREATE INDEX lineage_age ON lineage (authority, created_at, id);                         -- Lineages
CREATE INDEX lineage_ending ON lineage (authority, id) WHERE state = 'ending';           -- EndingLineages
CREATE INDEX lineage_forked ON lineage (authority, id) WHERE forks > 0;                  -- CountForked
CREATE INDEX certificate_lineage ON certificate (authority, lineage, seq);               -- LineageCertificates
ALTER TABLE certificate ALTER COLUMN lineage DROP DEFAULT;

CREATE TABLE invitation (
    authority TEXT   COLLATE "C" NOT NULL,
    id        TEXT   COLLATE "C" NOT NULL,
    inviter   TEXT   COLLATE "C" NOT NULL,
    names     TEXT   COLLATE "C" NOT NULL,
    uses      BIGINT NOT NULL,
    used      BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    made_at   BIGINT,
    until     BIGINT NOT NULL,
    voided_at BIGINT,
    PRIMARY KEY (authority, id)
);

CREATE INDEX invitation_until ON invitation (authority, until, id);
