package httpserver

import (
	"container/list"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// conns bounds the connections. When there are more than there may be, the one that has waited longest without a request
// in work makes room. So clients that open connections and hold them, be it between requests or in the middle of a
// header, drive out each other; a client that has something to say is answered.
type conns struct {
	most   int
	logger *slog.Logger

	mu      sync.Mutex
	all     map[net.Conn]*conn
	waiting list.List // of *conn, those without a request in work, the one that has waited longest first
	told    time.Time // when it was last logged that connections are dropped
}

type conn struct {
	net.Conn
	requests int           // in work; HTTP/2 may have many
	place    *list.Element // in waiting; nil while there are any
}

func newConns(most int, logger *slog.Logger) *conns {
	return &conns{most: most, logger: logger, all: map[net.Conn]*conn{}}
}

type connKey struct{}

// add notes a new connection, before anything of it is read. It is a http.Server's ConnContext.
func (c *conns) add(ctx context.Context, n net.Conn) context.Context {
	added := &conn{Conn: n}
	c.mu.Lock()
	c.all[n] = added
	added.place = c.waiting.PushBack(added)
	var dropped *conn
	if len(c.all) > c.most {
		dropped = c.waiting.Front().Value.(*conn)
		c.forget(dropped.Conn)
	}
	tell := dropped != nil && time.Since(c.told) > time.Minute
	if tell {
		c.told = time.Now()
	}
	c.mu.Unlock()
	if tell {
		c.logger.WarnContext(ctx, "too many connections, those that wait longest are dropped", "most", c.most)
	}
	if dropped != nil {
		drop(dropped.Conn)
	}
	return context.WithValue(ctx, connKey{}, added)
}

// drop closes a connection at once: TLS would say goodbye, and wait for the client to take it.
func drop(n net.Conn) {
	if t, ok := n.(*tls.Conn); ok {
		n = t.NetConn()
	}
	_ = n.Close() // nobody is left to tell
}

// state forgets a connection that has ended. It is a http.Server's ConnState.
func (c *conns) state(n net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(n)
}

// forget is called with mu held.
func (c *conns) forget(n net.Conn) {
	gone, ok := c.all[n]
	if !ok {
		return
	}
	delete(c.all, n)
	if gone.place != nil {
		c.waiting.Remove(gone.place)
		gone.place = nil
	}
}

// work notes that a request on a connection is in work, until what it returns is called.
func (c *conns) work(ctx context.Context) (done func()) {
	on, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	on.requests++
	if on.place != nil {
		c.waiting.Remove(on.place)
		on.place = nil
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		on.requests--
		if _, held := c.all[on.Conn]; held && on.requests == 0 {
			on.place = c.waiting.PushBack(on)
		}
	}
}
