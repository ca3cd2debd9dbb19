package signin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// errOverloaded: too many passwords are being checked.
var errOverloaded = errors.New("too many passwords are being checked at once")

// patience is how long a check of a password waits for its turn.
const patience = 3 * time.Second

// hasher checks passwords, a few at once: each takes 19 MiB and a processor for a while. One turn is kept for browsers
// that are known, so that whoever floods the page keeps nobody out who was in before.
type hasher struct {
	turns, reserved chan struct{}
}

func newHasher() *hasher {
	return &hasher{make(chan struct{}, max(1, min(4, runtime.GOMAXPROCS(0)))), make(chan struct{}, 1)}
}

// do runs f in its turn, or returns errOverloaded.
func (h *hasher) do(ctx context.Context, known bool, f func() error) error {
	reserved := h.reserved
	if !known {
		reserved = nil // never ready
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case reserved <- struct{}{}:
		defer func() { <-h.reserved }()
	case <-timer.C:
		return errOverloaded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return f()
}

// check tells whether a password fits a hash; with hash "" it takes as long, and does not.
func (h *hasher) check(ctx context.Context, known bool, hash, password string) (fits bool, err error) {
	err = h.do(ctx, known, func() error {
		against := hash
		if against == "" {
			against = dummyHash()
		}
		fits, err = CheckPassword(against, password)
		if errors.Is(err, ErrHash) {
			err = fmt.Errorf("check a password: %w", err)
		}
		return err
	})
	return fits && hash != "", err
}

// parameters begins every hash that is made now.
func parameters() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, memoryKiB, passes, threads)
}

// dummyHash is of no password that anybody knows.
func dummyHash() string {
	return parameters() + base64.RawStdEncoding.EncodeToString(make([]byte, saltLength)) + "$" + base64.RawStdEncoding.EncodeToString(make([]byte, hashLength))
}

// outdated tells whether a hash was made with other parameters than hashes are made with now.
func outdated(hash string) bool { return !strings.HasPrefix(hash, parameters()) }
