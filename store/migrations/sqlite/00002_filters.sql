-- +goose Up
-- The addresses of the few people who have more than their primary one: more_emails has them with the user, in the form
-- that email_key has, and user_emails has the same to be looked up by.
ALTER TABLE users ADD COLUMN more_emails text NOT NULL DEFAULT '[]';
CREATE TABLE user_emails (
    user_id   text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email_key text NOT NULL,
    PRIMARY KEY (email_key, user_id)
) WITHOUT ROWID;
CREATE INDEX user_emails_user ON user_emails (user_id);

-- +goose StatementBegin
CREATE TRIGGER users_more_emails_added AFTER INSERT ON users FOR EACH ROW WHEN NEW.more_emails <> '[]'
BEGIN
    INSERT INTO user_emails (user_id, email_key) SELECT NEW.id, value FROM json_each(NEW.more_emails) WHERE TRUE ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER users_more_emails_changed AFTER UPDATE OF more_emails ON users FOR EACH ROW WHEN NEW.more_emails <> OLD.more_emails
BEGIN
    DELETE FROM user_emails WHERE user_id = NEW.id;
    INSERT INTO user_emails (user_id, email_key) SELECT NEW.id, value FROM json_each(NEW.more_emails) WHERE TRUE ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

UPDATE users SET more_emails = (
    SELECT json_group_array(DISTINCT key)
      FROM (SELECT fold_case(trim(CASE e.type WHEN 'text' THEN e.value
                                  WHEN 'object' THEN CASE json_type(e.value, '$.value') WHEN 'text' THEN e.value ->> '$.value' END END,
                   char(32, 9, 10, 11, 12, 13, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202,
                        8232, 8233, 8239, 8287, 12288))) AS key
              FROM json_each(CASE json_type(document, '$.emails') WHEN 'array' THEN document -> '$.emails'
                             ELSE json_array(json(document -> '$.emails')) END) e)
     WHERE key <> '' AND key <> users.email_key)
 WHERE json_type(document, '$.emails') IS NOT NULL;

-- +goose Down
DROP TRIGGER users_more_emails_changed;
DROP TRIGGER users_more_emails_added;
DROP TABLE user_emails;
ALTER TABLE users DROP COLUMN more_emails;
