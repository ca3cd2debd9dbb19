package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync"

	"modernc.org/sqlite"
)

// liteDriver is SQLite with the functions that filters need, which PostgreSQL gets from the migrations. It is made once:
// what is registered lives as long as the program.
var liteDriver = sync.OnceValues(func() (*sqlite.Driver, error) {
	d := &sqlite.Driver{}
	for name, f := range map[string]func(string) driver.Value{
		"fold_case":    func(s string) driver.Value { return foldCase(s) },
		"time_key":     func(s string) driver.Value { return orNull(parseTimeKey(s)) },
		"number_key":   func(s string) driver.Value { return orNull(parseNumberKey(s)) },
		"json_present": func(s string) driver.Value { return jsonPresent(s) },
	} {
		err := d.RegisterDeterministicScalarFunction(name, 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			if text, ok := args[0].(string); ok {
				return f(text), nil
			}
			return nil, nil
		})
		if err != nil {
			return nil, fmt.Errorf("register %s: %w", name, err)
		}
	}
	return d, nil
})

func orNull(s string, ok bool) driver.Value {
	if !ok {
		return nil
	}
	return s
}

// liteConnector opens connections of liteDriver.
type liteConnector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c liteConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

func (c liteConnector) Driver() driver.Driver { return c.driver }
