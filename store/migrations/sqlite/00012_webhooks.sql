-- +goose Up
-- Who receives events. What an endpoint is to receive, and where it is, says the configuration.
CREATE TABLE webhook_endpoints (
    name            text NOT NULL PRIMARY KEY,
    created_at      datetime NOT NULL,
    disabled_at     datetime,
    disabled_reason text NOT NULL DEFAULT '',
    last_success_at datetime,
    last_failure_at datetime,
    last_error      text NOT NULL DEFAULT ''
);

-- An event for an endpoint. seq is the event's in the audit log.
CREATE TABLE webhook_deliveries (
    endpoint    text NOT NULL,
    seq         integer NOT NULL,
    event_id    text NOT NULL,
    type        text NOT NULL,
    object_id   text NOT NULL,
    state       text NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    created_at  datetime NOT NULL,
    next_at     datetime NOT NULL,
    finished_at datetime,
    status      integer NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',
    PRIMARY KEY (endpoint, seq)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, next_at, seq) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_object ON webhook_deliveries (endpoint, object_id, seq) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE state <> 'waiting';

CREATE INDEX audit_events_id ON audit_events (id);

-- +goose Down
DROP INDEX audit_events_id;
DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
