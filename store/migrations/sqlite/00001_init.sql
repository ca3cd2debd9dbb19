-- +goose Up
CREATE TABLE users (
    seq              integer PRIMARY KEY AUTOINCREMENT,
    id               text NOT NULL UNIQUE,
    user_name        text NOT NULL,
    user_name_key    text NOT NULL UNIQUE,
    external_id      text NOT NULL DEFAULT '',
    active           boolean NOT NULL,
    origin           text NOT NULL CHECK (origin IN ('local', 'sso')),
    source           text NOT NULL DEFAULT '',
    source_id        text NOT NULL DEFAULT '',
    display_name     text NOT NULL DEFAULT '',
    display_name_key text NOT NULL DEFAULT '',
    email            text NOT NULL DEFAULT '',
    email_key        text NOT NULL DEFAULT '',
    document         text NOT NULL DEFAULT '{}',
    roles            text NOT NULL DEFAULT '[]',
    fingerprint      blob,
    key_hi           integer NOT NULL DEFAULT 0,
    key_lo           integer NOT NULL DEFAULT 0,
    version          integer NOT NULL DEFAULT 1,
    created_at       datetime NOT NULL,
    updated_at       datetime NOT NULL,
    last_push_at     datetime,
    observed_at      datetime,
    deleted_at       datetime,
    reason           text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX users_source_id ON users (source, source_id) WHERE source_id <> '';
CREATE UNIQUE INDEX users_external_id ON users (source, external_id) WHERE external_id <> '';
CREATE INDEX users_external ON users (external_id) WHERE external_id <> '';
CREATE INDEX users_email ON users (email_key) WHERE email_key <> '';
CREATE INDEX users_display_name ON users (display_name_key);
CREATE INDEX users_updated ON users (updated_at);
CREATE INDEX users_source_seq ON users (source, seq) WHERE active;
CREATE INDEX users_inactive ON users (seq) WHERE NOT active;
CREATE INDEX users_local ON users (seq) WHERE origin = 'local';

-- A row whose content changes without a new fingerprint has an unknown one: the next pull compares it in full. So an
-- edit made behind the program's back is found as drift.
-- +goose StatementBegin
CREATE TRIGGER users_content_changed AFTER UPDATE ON users FOR EACH ROW
    WHEN NEW.fingerprint IS NOT NULL AND NEW.fingerprint IS OLD.fingerprint
         AND (OLD.user_name, OLD.external_id, OLD.active, OLD.document, OLD.source, OLD.source_id)
             IS NOT (NEW.user_name, NEW.external_id, NEW.active, NEW.document, NEW.source, NEW.source_id)
BEGIN
    UPDATE users SET fingerprint = NULL WHERE seq = NEW.seq;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER users_key_changed AFTER UPDATE OF key_hi, key_lo ON users FOR EACH ROW
    WHEN OLD.key_hi <> NEW.key_hi OR OLD.key_lo <> NEW.key_lo
BEGIN
    UPDATE group_members SET key_hi = NEW.key_hi, key_lo = NEW.key_lo WHERE user_id = NEW.id;
END;
-- +goose StatementEnd

CREATE TABLE groups (
    seq              integer PRIMARY KEY AUTOINCREMENT,
    id               text NOT NULL UNIQUE,
    display_name     text NOT NULL,
    display_name_key text NOT NULL UNIQUE,
    external_id      text NOT NULL DEFAULT '',
    source           text NOT NULL DEFAULT '',
    source_id        text NOT NULL DEFAULT '',
    document         text NOT NULL DEFAULT '{}',
    fingerprint      blob,
    member_count     integer NOT NULL DEFAULT 0,
    member_hash_hi   integer NOT NULL DEFAULT 0,
    member_hash_lo   integer NOT NULL DEFAULT 0,
    version          integer NOT NULL DEFAULT 1,
    created_at       datetime NOT NULL,
    updated_at       datetime NOT NULL,
    last_push_at     datetime,
    observed_at      datetime
);
CREATE UNIQUE INDEX groups_source_id ON groups (source, source_id) WHERE source_id <> '';
CREATE UNIQUE INDEX groups_external_id ON groups (source, external_id) WHERE external_id <> '';
CREATE INDEX groups_external ON groups (external_id) WHERE external_id <> '';
-- +goose StatementBegin
CREATE TRIGGER groups_content_changed AFTER UPDATE ON groups FOR EACH ROW
    WHEN NEW.fingerprint IS NOT NULL AND NEW.fingerprint IS OLD.fingerprint
         AND (OLD.display_name, OLD.external_id, OLD.document, OLD.source, OLD.source_id)
             IS NOT (NEW.display_name, NEW.external_id, NEW.document, NEW.source, NEW.source_id)
BEGIN
    UPDATE groups SET fingerprint = NULL WHERE seq = NEW.seq;
END;
-- +goose StatementEnd

CREATE TABLE group_members (
    group_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id  text NOT NULL REFERENCES users (id),
    key_hi   integer NOT NULL DEFAULT 0,
    key_lo   integer NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;
CREATE INDEX group_members_user ON group_members (user_id);

-- member_count and the set hash follow every statement that touches the pairs, whoever runs it. SQLite has no
-- exclusive or: (~(a & b)) & (a | b) is one.
-- +goose StatementBegin
CREATE TRIGGER group_members_added AFTER INSERT ON group_members FOR EACH ROW
BEGIN
    UPDATE groups SET member_count = member_count + 1,
           member_hash_hi = (~(member_hash_hi & NEW.key_hi)) & (member_hash_hi | NEW.key_hi),
           member_hash_lo = (~(member_hash_lo & NEW.key_lo)) & (member_hash_lo | NEW.key_lo)
     WHERE id = NEW.group_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER group_members_removed AFTER DELETE ON group_members FOR EACH ROW
BEGIN
    UPDATE groups SET member_count = member_count - 1,
           member_hash_hi = (~(member_hash_hi & OLD.key_hi)) & (member_hash_hi | OLD.key_hi),
           member_hash_lo = (~(member_hash_lo & OLD.key_lo)) & (member_hash_lo | OLD.key_lo)
     WHERE id = OLD.group_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER group_members_changed AFTER UPDATE ON group_members FOR EACH ROW
BEGIN
    UPDATE groups SET member_count = member_count - 1,
           member_hash_hi = (~(member_hash_hi & OLD.key_hi)) & (member_hash_hi | OLD.key_hi),
           member_hash_lo = (~(member_hash_lo & OLD.key_lo)) & (member_hash_lo | OLD.key_lo)
     WHERE id = OLD.group_id;
    UPDATE groups SET member_count = member_count + 1,
           member_hash_hi = (~(member_hash_hi & NEW.key_hi)) & (member_hash_hi | NEW.key_hi),
           member_hash_lo = (~(member_hash_lo & NEW.key_lo)) & (member_hash_lo | NEW.key_lo)
     WHERE id = NEW.group_id;
END;
-- +goose StatementEnd

CREATE TABLE teams (
    id         text NOT NULL PRIMARY KEY,
    name       text NOT NULL,
    name_key   text NOT NULL UNIQUE,
    group_id   text UNIQUE REFERENCES groups (id) ON DELETE SET NULL,
    created_at datetime NOT NULL
);
INSERT INTO teams (id, name, name_key, created_at) VALUES ('00000000-0000-4000-8000-000000000001', 'root', 'root', datetime('now') || '+00:00');

CREATE TABLE group_grants (
    group_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    team_id  text NOT NULL REFERENCES teams (id),
    role     text NOT NULL,
    PRIMARY KEY (group_id, team_id, role)
);
CREATE INDEX group_grants_team ON group_grants (team_id, role);

CREATE TABLE grants (
    user_id    text NOT NULL REFERENCES users (id),
    team_id    text NOT NULL REFERENCES teams (id),
    role       text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('direct', 'manual', 'jit')),
    source_id  text NOT NULL DEFAULT '',
    created_at datetime NOT NULL,
    PRIMARY KEY (user_id, team_id, role, kind, source_id)
);
CREATE INDEX grants_team ON grants (team_id, role);

-- One row for each reason: what a person may do is every row here while the person is active.
CREATE VIEW effective_grants AS
    SELECT m.user_id, gg.team_id, gg.role, 'group' AS kind, CAST(gg.group_id AS text) AS source_id
      FROM group_members m JOIN group_grants gg ON gg.group_id = m.group_id
    UNION ALL
    SELECT user_id, team_id, role, kind, source_id FROM grants;

CREATE TABLE credentials (
    user_id       text NOT NULL PRIMARY KEY REFERENCES users (id),
    password_hash text NOT NULL,
    updated_at    datetime NOT NULL
);

CREATE TABLE api_keys (
    id           text NOT NULL PRIMARY KEY,
    user_id      text NOT NULL REFERENCES users (id),
    name         text NOT NULL,
    source       text NOT NULL,
    connector    text NOT NULL DEFAULT '',
    hash         blob NOT NULL,
    created_at   datetime NOT NULL,
    expires_at   datetime,
    last_used_at datetime,
    disabled_at  datetime,
    revoked_at   datetime
);
CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE audit_events (
    seq        integer PRIMARY KEY AUTOINCREMENT,
    id         text NOT NULL,
    at         datetime NOT NULL,
    type       text NOT NULL,
    actor_kind text NOT NULL,
    actor_id   text NOT NULL,
    actor_name text NOT NULL,
    request_id text NOT NULL,
    run_id     text NOT NULL,
    object     text NOT NULL,
    object_id  text NOT NULL,
    name       text NOT NULL,
    fields     text NOT NULL,
    members    text NOT NULL,
    reason     text NOT NULL
);
CREATE INDEX audit_events_object ON audit_events (object_id, seq);
CREATE INDEX audit_events_run ON audit_events (run_id, seq) WHERE run_id <> '';
CREATE INDEX audit_events_at ON audit_events (at);

CREATE TABLE outbox (
    seq          integer PRIMARY KEY AUTOINCREMENT,
    event_id     text NOT NULL,
    type         text NOT NULL,
    object_id    text NOT NULL,
    created_at   datetime NOT NULL,
    delivered_at datetime
);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE delivered_at IS NULL;

CREATE TABLE runs (
    id          text NOT NULL PRIMARY KEY,
    connector   text NOT NULL,
    kind        text NOT NULL,
    started_by  text NOT NULL,
    dry_run     boolean NOT NULL,
    status      text NOT NULL,
    phase       text NOT NULL,
    plan_hash   text NOT NULL,
    counts      text NOT NULL,
    guard       text NOT NULL,
    incomplete  text NOT NULL,
    requests    integer NOT NULL,
    error       text NOT NULL,
    lease_epoch integer NOT NULL,
    started_at  datetime NOT NULL,
    finished_at datetime
);
CREATE INDEX runs_started ON runs (started_at);

CREATE TABLE run_changes (
    run_id           text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    ord              integer NOT NULL,
    object           text NOT NULL,
    op               text NOT NULL,
    source_id        text NOT NULL,
    object_id        text NOT NULL,
    name             text NOT NULL,
    member_source_id text NOT NULL,
    member_id        text NOT NULL,
    fields           text NOT NULL,
    reason           text NOT NULL,
    state            text NOT NULL,
    version          integer NOT NULL,
    absent           boolean NOT NULL,
    status           text NOT NULL,
    fingerprint      blob,
    read_at          datetime,
    PRIMARY KEY (run_id, ord)
);
CREATE INDEX run_changes_source ON run_changes (run_id, object, source_id);

CREATE TABLE run_members (
    run_id          text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    group_source_id text NOT NULL,
    user_source_id  text NOT NULL,
    PRIMARY KEY (run_id, group_source_id, user_source_id)
);

CREATE TABLE leases (
    name       text NOT NULL PRIMARY KEY,
    holder     text NOT NULL,
    epoch      integer NOT NULL,
    expires_at datetime NOT NULL
);

CREATE TABLE connector_states (
    connector       text NOT NULL PRIMARY KEY,
    checkpoint      text NOT NULL DEFAULT '',
    last_run_id     text NOT NULL DEFAULT '',
    last_slot_at    datetime,
    last_success_at datetime,
    last_full_at    datetime
);

-- +goose Down
DROP TABLE connector_states;
DROP TABLE leases;
DROP TABLE run_members;
DROP TABLE run_changes;
DROP TABLE runs;
DROP TABLE outbox;
DROP TABLE audit_events;
DROP TABLE api_keys;
DROP TABLE credentials;
DROP VIEW effective_grants;
DROP TABLE grants;
DROP TABLE group_grants;
DROP TABLE teams;
DROP TABLE group_members;
DROP TABLE groups;
DROP TABLE users;
