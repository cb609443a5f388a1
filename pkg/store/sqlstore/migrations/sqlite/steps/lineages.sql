-- The self-signed certificate for the name and key of a CA that a parent has certified. NULL where the CA certificate is
-- self-signed itself, and for those of before, which have none.
ALTER TABLE ca_certificate ADD COLUMN anchor BLOB;
-- The statement in which that certificate vouches for the one by the parent.
ALTER TABLE ca_certificate ADD COLUMN parent_link BLOB;

-- A certificate and its renewals. The column of certificates that names theirs is added before this, and filled
-- in batches (lineagecarry.go), as are these rows, at the end.
CREATE TABLE lineage (
    authority       TEXT    NOT NULL CHECK (authority <> ''),
    id              INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    subject         TEXT    NOT NULL,
    role            TEXT    NOT NULL,  -- empty: none
    profile         TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    ended_at        INTEGER,           -- NULL as long as it is active
    reason          INTEGER NOT NULL,
    newest          BLOB    NOT NULL CHECK (length(newest) BETWEEN 1 AND 20), -- serial
    not_after       INTEGER NOT NULL,  -- of the certificate that is valid longest
    renewals        INTEGER NOT NULL,
    renewed_at      INTEGER,
    address         TEXT    NOT NULL,
    forks           INTEGER NOT NULL,
    forked_at       INTEGER,
    fork_address    TEXT    NOT NULL,
    forked_from     TEXT    NOT NULL,
    day             INTEGER,           -- since when the following are counted
    day_renewals    INTEGER NOT NULL,
    day_revocations INTEGER NOT NULL,
    day_bytes       INTEGER NOT NULL,
    PRIMARY KEY (authority, id)
) STRICT;

CREATE INDEX lineage_age ON lineage (authority, created_at, id);                         -- Lineages
CREATE INDEX lineage_ending ON lineage (authority, id) WHERE state = 'ending';           -- EndingLineages
CREATE INDEX lineage_forked ON lineage (authority, id) WHERE forks > 0;                  -- CountForked
CREATE INDEX certificate_lineage ON certificate (authority, lineage);                    -- LineageCertificates

-- What has become of invitations: not the invitations themselves, which are secrets.
CREATE TABLE invitation (
    authority TEXT    NOT NULL,
    id        TEXT    NOT NULL,  -- a digest, in hex
    inviter   TEXT    NOT NULL,  -- empty, as what follows, if only the id is known
    names     TEXT    NOT NULL,  -- JSON list, for display
    uses      INTEGER NOT NULL,
    used      INTEGER NOT NULL,
    refused   INTEGER NOT NULL,  -- refusals in the audit log
    made_at   INTEGER,
    until     INTEGER NOT NULL,
    voided_at INTEGER,           -- NULL: it was not withdrawn
    PRIMARY KEY (authority, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX invitation_until ON invitation (authority, until, id);   -- Invitations, PruneInvitations
