package idptest

import (
	"context"
	"sync"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// Memory is an assertion.Memory of one process. The zero value is empty and goes by time.Now.
type Memory struct {
	Now func() time.Time // nil: time.Now

	mu   sync.Mutex
	err  error
	kept map[[2]string]kept
}

type kept struct {
	value   string
	expires time.Time
}

var _ assertion.Memory = (*Memory)(nil)

// Put does what assertion.Memory says.
func (m *Memory) Put(_ context.Context, kind, key, value string, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return false, m.err
	}
	if had, ok := m.kept[[2]string{kind, key}]; ok && m.now().Before(had.expires) {
		return false, nil
	}
	if m.kept == nil {
		m.kept = map[[2]string]kept{}
	}
	m.kept[[2]string{kind, key}] = kept{value, expires}
	return true, nil
}

// Take does what assertion.Memory says.
func (m *Memory) Take(_ context.Context, kind, key string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return "", false, m.err
	}
	had, ok := m.kept[[2]string{kind, key}]
	delete(m.kept, [2]string{kind, key})
	return had.value, ok && m.now().Before(had.expires), nil
}

// Fail has every call fail with err from now on; nil ends that.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Len counts what is kept of a kind, expired or not.
func (m *Memory) Len(kind string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for key := range m.kept {
		if key[0] == kind {
			n++
		}
	}
	return n
}

func (m *Memory) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}
