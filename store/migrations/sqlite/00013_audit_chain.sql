-- +goose Up
-- The audit log is append-only, and sealed by a chain of hashes: store/chain says how a hash is made.
CREATE TABLE audit_chain (
    seq       integer PRIMARY KEY,
    event_seq integer NOT NULL UNIQUE,
    hash      blob NOT NULL
);

-- How long the chain is, and its last hash.
CREATE TABLE audit_head (
    one       boolean NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (one),
    count     integer NOT NULL,
    hash      blob NOT NULL,
    sealed_at datetime
);
INSERT INTO audit_head (count, hash) VALUES (0, zeroblob(32));

-- Events that wait to be sealed. What is there already is sealed by the first server, the oldest first.
CREATE TABLE audit_unsealed (
    event_id text NOT NULL PRIMARY KEY
) WITHOUT ROWID;
INSERT INTO audit_unsealed (event_id) SELECT id FROM audit_events ORDER BY id;

DROP INDEX audit_events_id;
CREATE UNIQUE INDEX audit_events_id ON audit_events (id);
CREATE INDEX audit_events_actor ON audit_events (actor_id, seq);
CREATE INDEX audit_events_type ON audit_events (type, seq);
CREATE INDEX audit_events_request ON audit_events (request_id, seq) WHERE request_id <> '';

-- An INSERT OR REPLACE deletes without asking the trigger of deletions, which is why insertions are looked at, too.
-- +goose StatementBegin
CREATE TRIGGER audit_events_updated BEFORE UPDATE ON audit_events FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'UPDATE of audit_events is refused: the audit log is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_deleted BEFORE DELETE ON audit_events FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'DELETE of audit_events is refused: the audit log is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_replaced BEFORE INSERT ON audit_events FOR EACH ROW
    WHEN EXISTS (SELECT 1 FROM audit_events WHERE seq = NEW.seq) OR EXISTS (SELECT 1 FROM audit_events WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the event is there already: the audit log is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_chain_updated BEFORE UPDATE ON audit_chain FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'UPDATE of audit_chain is refused: the audit log is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_chain_deleted BEFORE DELETE ON audit_chain FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'DELETE of audit_chain is refused: the audit log is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_chain_replaced BEFORE INSERT ON audit_chain FOR EACH ROW
    WHEN EXISTS (SELECT 1 FROM audit_chain WHERE seq = NEW.seq) OR EXISTS (SELECT 1 FROM audit_chain WHERE event_seq = NEW.event_seq)
BEGIN
    SELECT RAISE(ABORT, 'the entry is there already: the audit log is append-only');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER audit_events_replaced;
DROP TRIGGER audit_events_deleted;
DROP TRIGGER audit_events_updated;
DROP TABLE audit_chain;
DROP TABLE audit_head;
DROP TABLE audit_unsealed;
DROP INDEX audit_events_request;
DROP INDEX audit_events_type;
DROP INDEX audit_events_actor;
DROP INDEX audit_events_id;
CREATE INDEX audit_events_id ON audit_events (id);
