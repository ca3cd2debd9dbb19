-- +goose Up
-- Who is signed in. The token is in the browser's cookie; here is its hash.
CREATE TABLE sessions (
    id              uuid PRIMARY KEY,
    token_hash      bytea NOT NULL UNIQUE,
    user_id         uuid NOT NULL REFERENCES users (id),
    method          text NOT NULL CHECK (method IN ('password', 'saml', 'oidc')),
    created_at      timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    idle_expires_at timestamptz NOT NULL,
    remote          text NOT NULL,
    user_agent      text NOT NULL,
    ended_at        timestamptz,
    ended_reason    text NOT NULL DEFAULT ''
);
CREATE INDEX sessions_user ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Browsers in which somebody signed in with a password before: their tries are counted for themselves.
CREATE TABLE known_browsers (
    token_hash bytea NOT NULL,
    user_id    uuid NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    used_at    timestamptz NOT NULL,
    PRIMARY KEY (token_hash, user_id)
);
CREATE INDEX known_browsers_user ON known_browsers (user_id);

-- Passwords that did not fit, counted. account is a user's id, or a short hash of a name that is nobody's.
CREATE TABLE signin_failures (
    kind       text NOT NULL,
    account    text NOT NULL,
    place      text NOT NULL,
    failures   integer NOT NULL,
    since      timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    until_at   timestamptz,
    noted_at   timestamptz,
    PRIMARY KEY (kind, account, place)
);
CREATE INDEX signin_failures_account ON signin_failures (account) WHERE account <> '';
CREATE INDEX signin_failures_last ON signin_failures (last_at);

-- What single sign-on remembers between its two halves, and what was used once.
CREATE TABLE signin_memory (
    kind       text NOT NULL,
    key        text NOT NULL,
    value      text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX signin_memory_expires ON signin_memory (expires_at);

-- Whom an identity provider means by its own id of a person, from the first sign-in on.
CREATE TABLE sso_subjects (
    provider   text NOT NULL,
    issuer     text NOT NULL,
    subject    text NOT NULL,
    user_id    uuid NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (provider, issuer, subject),
    UNIQUE (user_id, provider, issuer)
);

-- The groups that the last sign-in stated, of people whom no source states.
CREATE TABLE jit_groups (
    user_id  uuid NOT NULL REFERENCES users (id),
    name_key text NOT NULL,
    name     text NOT NULL,
    PRIMARY KEY (user_id, name_key)
);
CREATE INDEX jit_groups_name ON jit_groups (name_key);

-- +goose Down
DROP TABLE jit_groups;
DROP TABLE sso_subjects;
DROP TABLE signin_memory;
DROP TABLE signin_failures;
DROP TABLE known_browsers;
DROP TABLE sessions;
