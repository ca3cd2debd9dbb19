package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migrate brings the schema up to date and returns the version it is at. Replicas that start together take turns.
func (s *Store) Migrate(ctx context.Context) (int64, error) {
	provider, err := s.migrator()
	if err != nil {
		return 0, err
	}
	if err := s.checkServer(ctx); err != nil {
		return 0, err
	}
	if s.pooled.Load() {
		return 0, ErrMigratePooled
	}
	if _, err := provider.Up(ctx); err != nil {
		return 0, fmt.Errorf("migrate the database: %w", err)
	}
	return provider.GetDBVersion(ctx)
}

// oldestPostgres is the first release with all that the schema uses (bit_xor).
const oldestPostgres = 14

// checkServer says when the database server is too old, before a migration stops half way.
func (s *Store) checkServer(ctx context.Context) error {
	if !s.d.postgres() {
		return nil
	}
	var version int
	if err := s.raw(ctx, "SELECT CAST(current_setting('server_version_num') AS integer)").Scan(&version).Error; err != nil {
		return fmt.Errorf("read the server's version: %w", err)
	}
	if version < oldestPostgres*10000 {
		return fmt.Errorf("PostgreSQL %d is too old: version %d or newer is needed", version/10000, oldestPostgres)
	}
	return nil
}

// SchemaVersion returns the version that the schema is at and the one that this program wants.
func (s *Store) SchemaVersion(ctx context.Context) (at, want int64, err error) {
	provider, err := s.migrator()
	if err != nil {
		return 0, 0, err
	}
	if at, want, err = provider.GetVersions(ctx); err != nil {
		return 0, 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return at, want, nil
}

// CheckSchema says what is wrong when the schema is not the one that this program wants.
func (s *Store) CheckSchema(ctx context.Context) error {
	at, want, err := s.SchemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case at < want:
		return fmt.Errorf("the database's schema is at version %d, this program wants %d: run `idpsync migrate`", at, want)
	case at > want:
		return fmt.Errorf("the database's schema is at version %d, this program knows %d: run a newer idpsync", at, want)
	}
	return nil
}

func (s *Store) migrator() (*goose.Provider, error) {
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if s.d.postgres() {
		dialect = goose.DialectPostgres
		// Tries every second for a minute: long enough for a replica's migration, short enough to tell of a stuck one.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return nil, fmt.Errorf("migrate the database: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, "migrations/"+s.d.name)
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(dialect, s.sql, files, options...)
	if err != nil {
		return nil, errors.Join(errors.New("read the migrations"), err)
	}
	return provider, nil
}

// MigrationsDigest identifies the migrations that this program carries: it changes when any of them does.
func MigrationsDigest() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(migrations, "migrations", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := migrations.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(content), content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the migrations: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}
