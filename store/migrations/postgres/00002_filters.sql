-- +goose Up
-- How text is compared without case: as Go's strings.ToLower has it, rune by rune. Where the server has no collation that
-- knows all letters, the database's own has to do.
-- +goose StatementBegin
DO $do$
DECLARE
    chosen text := '';
BEGIN
    SELECT ' COLLATE ' || quote_ident(nspname) || '.' || quote_ident(collname) INTO chosen
      FROM pg_collation JOIN pg_namespace n ON n.oid = collnamespace
     WHERE collname IN ('pg_c_utf8', 'und-x-icu') AND nspname = 'pg_catalog'
       AND collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
     ORDER BY collname LIMIT 1;
    -- Upper case I with a dot becomes two letters elsewhere, and a sigma at the end of a word another one.
    EXECUTE format($f$
        CREATE FUNCTION fold_case(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
        AS $body$ SELECT lower(translate(x, %L, %L)%s) $body$
    $f$, U&'\0130\03A3', U&'i\03C3', coalesce(chosen, ''));
END $do$;
-- +goose StatementEnd

-- time_key is a dateTime value as a text that sorts in the order of time, NULL when it is none: seconds and nanoseconds
-- since the first of March of the year -400. No function here fails, whatever the text.
-- +goose StatementBegin
CREATE FUNCTION time_key(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT lpad(CAST(days * 86400 + CAST(hours * 3600 + minutes * 60 + seconds - shift AS bigint) AS text), 12, '0') || '.' || fraction
      FROM (SELECT regexp_match(x, '^([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])([.][0-9]+)?(Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))?$') AS p) parsed
     CROSS JOIN LATERAL (SELECT CAST(p[1] AS integer) AS y, CAST(p[2] AS integer) AS m, CAST(p[3] AS integer) AS d,
            CAST(p[4] AS integer) AS hours, CAST(p[5] AS integer) AS minutes, CAST(p[6] AS integer) AS seconds,
            rpad(substr(coalesce(p[7], '.'), 2, 9), 9, '0') AS fraction,
            CASE p[9] WHEN '-' THEN -1 ELSE 1 END * (coalesce(CAST(p[10] AS integer), 0) * 3600 + coalesce(CAST(p[11] AS integer), 0) * 60) AS shift) numbers
     CROSS JOIN LATERAL (SELECT CASE WHEN m > 2 THEN y + 400 ELSE y + 399 END AS era, CASE WHEN m > 2 THEN m - 3 ELSE m + 9 END AS month) shifted
     CROSS JOIN LATERAL (SELECT CAST(era * 365 + era / 4 - era / 100 + era / 400 + (153 * month + 2) / 5 + d - 1 AS bigint) AS days) counted
     WHERE p IS NOT NULL
       AND d <= CASE WHEN m = 2 THEN CASE WHEN y % 4 = 0 AND (y % 100 <> 0 OR y % 400 = 0) THEN 29 ELSE 28 END
                     WHEN m IN (4, 6, 9, 11) THEN 30 ELSE 31 END
$$;
-- +goose StatementEnd

-- json_present tells whether a JSON value is there and not empty: an object is empty when all that it has is.
-- +goose StatementBegin
CREATE FUNCTION json_present(v jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT CASE jsonb_typeof(v)
           WHEN 'string' THEN v <> '""'
           WHEN 'array' THEN v <> '[]'
           WHEN 'null' THEN FALSE
           WHEN 'object' THEN jsonb_path_exists(v, 'strict $.** ? (@.type() == "boolean" || @.type() == "number"
                || @.type() == "string" && @ != "" || @.type() == "array" && @.size() > 0)')
           ELSE TRUE END
$$;
-- +goose StatementEnd

-- The addresses of the few people who have more than their primary one: more_emails has them with the user, in the form
-- that email_key has, and user_emails has the same to be looked up by.
ALTER TABLE users ADD COLUMN more_emails jsonb NOT NULL DEFAULT '[]';
CREATE TABLE user_emails (
    user_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email_key text COLLATE "C" NOT NULL,
    PRIMARY KEY (email_key, user_id)
);
CREATE INDEX user_emails_user ON user_emails (user_id);

-- +goose StatementBegin
CREATE FUNCTION keep_more_emails() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM user_emails WHERE user_id = NEW.id;
    INSERT INTO user_emails (user_id, email_key) SELECT NEW.id, value FROM jsonb_array_elements_text(NEW.more_emails) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER users_more_emails_added AFTER INSERT ON users FOR EACH ROW WHEN (NEW.more_emails <> '[]')
    EXECUTE FUNCTION keep_more_emails();
CREATE TRIGGER users_more_emails_changed AFTER UPDATE ON users FOR EACH ROW WHEN (NEW.more_emails IS DISTINCT FROM OLD.more_emails)
    EXECUTE FUNCTION keep_more_emails();

UPDATE users SET more_emails = found.keys
  FROM (SELECT u.id, jsonb_agg(DISTINCT key) AS keys
          FROM users u
         CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(u.document -> 'emails') WHEN 'array' THEN u.document -> 'emails'
                                                 ELSE jsonb_build_array(u.document -> 'emails') END) AS e (value)
         CROSS JOIN LATERAL (SELECT CASE jsonb_typeof(e.value) WHEN 'object' THEN e.value -> 'value' ELSE e.value END AS address) a
         CROSS JOIN LATERAL (SELECT fold_case(btrim(CASE jsonb_typeof(address) WHEN 'string' THEN address #>> '{}' END,
               U&' \0009\000A\000B\000C\000D\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000')) AS key) k
         WHERE key <> '' AND key <> u.email_key
         GROUP BY u.id) found
 WHERE users.id = found.id;

-- +goose Down
DROP TRIGGER users_more_emails_changed ON users;
DROP TRIGGER users_more_emails_added ON users;
DROP FUNCTION keep_more_emails();
DROP TABLE user_emails;
ALTER TABLE users DROP COLUMN more_emails;
DROP FUNCTION json_present(jsonb);
DROP FUNCTION time_key(text);
DROP FUNCTION fold_case(text);
