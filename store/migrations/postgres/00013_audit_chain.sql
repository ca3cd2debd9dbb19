-- +goose Up
-- The audit log is append-only, and sealed by a chain of hashes: store/chain says how a hash is made.
CREATE TABLE audit_chain (
    seq       bigint PRIMARY KEY,
    event_seq bigint NOT NULL CONSTRAINT audit_chain_event UNIQUE,
    hash      bytea NOT NULL
);

-- How long the chain is, and its last hash. Whoever seals locks this row.
CREATE TABLE audit_head (
    one       boolean PRIMARY KEY DEFAULT TRUE CHECK (one),
    count     bigint NOT NULL,
    hash      bytea NOT NULL,
    sealed_at timestamptz
);
INSERT INTO audit_head (count, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- Events that wait to be sealed. What is there already is sealed by the first server, the oldest first.
CREATE TABLE audit_unsealed (
    event_id uuid PRIMARY KEY
);
INSERT INTO audit_unsealed (event_id) SELECT id FROM audit_events ORDER BY id;

DROP INDEX audit_events_id;
CREATE UNIQUE INDEX audit_events_id ON audit_events (id);
CREATE INDEX audit_events_actor ON audit_events (actor_id, seq);
CREATE INDEX audit_events_type ON audit_events (type, seq);
CREATE INDEX audit_events_request ON audit_events (request_id, seq) WHERE request_id <> '';

-- +goose StatementBegin
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit log is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
-- Whatever session_replication_role is set to.
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_append_only;
ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_append_only;

-- +goose Down
DROP TRIGGER audit_append_only ON audit_events;
DROP TABLE audit_chain, audit_head, audit_unsealed;
DROP FUNCTION audit_append_only;
DROP INDEX audit_events_request;
DROP INDEX audit_events_type;
DROP INDEX audit_events_actor;
DROP INDEX audit_events_id;
CREATE INDEX audit_events_id ON audit_events (id);
