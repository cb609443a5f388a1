-- Keys by which the keys of CAs are encrypted, themselves encrypted.
CREATE TABLE kek (
    authority  TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    wrap       TEXT    NOT NULL,
    params     BLOB    NOT NULL,
    wrapped    BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
