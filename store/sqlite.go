package store

import (
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
)

// liteDialector teaches gorm SQLite without gorm's own driver, which would bring a C library along. It does what this
// package needs: statements are written out, the schema is goose's.
type liteDialector struct{ db *sql.DB }

var _ gorm.Dialector = liteDialector{}

func (liteDialector) Name() string { return "sqlite" }

func (d liteDialector) Initialize(db *gorm.DB) error {
	db.ConnPool = d.db
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses: []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses: []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses: []string{"DELETE", "FROM", "WHERE", "RETURNING"},
	})
	return nil
}

func (liteDialector) Migrator(*gorm.DB) gorm.Migrator { return nil }

func (liteDialector) DataTypeOf(f *schema.Field) string { return string(f.DataType) }

func (liteDialector) DefaultValueOf(*schema.Field) clause.Expression {
	return clause.Expr{SQL: "NULL"}
}

func (liteDialector) BindVarTo(w clause.Writer, _ *gorm.Statement, _ any) { _ = w.WriteByte('?') }

func (liteDialector) QuoteTo(w clause.Writer, name string) {
	_, _ = w.WriteString(`"` + strings.ReplaceAll(name, `"`, `""`) + `"`)
}

func (liteDialector) Explain(statement string, vars ...any) string {
	return logger.ExplainSQL(statement, nil, `'`, vars...)
}

// openSQLite opens a database file, creating it. Writers take the write lock at BEGIN: with SQLite's default, two
// transactions that read before they write lock each other out. Times are written so that they sort as text.
func openSQLite(path string) (*sql.DB, error) {
	if path == "" {
		return nil, fmt.Errorf("database sqlite://: the path is missing, for example sqlite://idpsync.db")
	}
	options := url.Values{
		"_txlock":      {"immediate"},
		"_time_format": {"sqlite"},
		"_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)",
			"cache_size(-16000)", "temp_store(MEMORY)",
		},
	}
	d, err := liteDriver()
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(liteConnector{d, "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + options.Encode()})
	db.SetMaxOpenConns(8)
	return db, nil
}
