package connectors

import (
	"maps"
	"sync"
)

// RequestKey is what requests are counted by. Both parts are small closed sets, fit for metric labels.
type RequestKey struct {
	Endpoint string
	Status   int // 0: no answer
}

type counts struct {
	mu  sync.Mutex
	all map[RequestKey]int64
	sum int64
}

func (c *counts) add(endpoint string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[RequestKey]int64{}
	}
	c.all[RequestKey{Endpoint: endpoint, Status: status}]++
	c.sum++
}

func (c *counts) total() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}

func (c *counts) snapshot() map[RequestKey]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.all)
}
