package telemetry

import (
	"regexp"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Registry is a registry of metrics that also tells which ones there can be: one that has no value yet is not gathered.
type Registry struct {
	*prometheus.Registry
	mu         sync.Mutex
	collectors []prometheus.Collector
}

var _ prometheus.Registerer = (*Registry)(nil)

// NewRegistry returns a registry without metrics.
func NewRegistry() *Registry { return &Registry{Registry: prometheus.NewRegistry()} }

// Register registers a collector.
func (r *Registry) Register(c prometheus.Collector) error {
	if err := r.Registry.Register(c); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collectors = append(r.collectors, c)
	return nil
}

// MustRegister registers collectors, and panics where one cannot be: two parts of the program use one name.
func (r *Registry) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// described reads a description. The library has no other way to tell what is in one.
var described = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: ".*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// Known returns the names of all metrics that can be gathered, each with its labels.
func (r *Registry) Known() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string][]string{}
	for _, c := range r.collectors {
		descs := make(chan *prometheus.Desc)
		go func() {
			defer close(descs)
			c.Describe(descs)
		}()
		for desc := range descs {
			parts := described.FindStringSubmatch(desc.String())
			if parts == nil {
				continue
			}
			labels := []string{}
			for label := range strings.SplitSeq(parts[3], ",") {
				if label != "" {
					labels = append(labels, label)
				}
			}
			for label := range strings.SplitSeq(parts[2], ",") {
				if name, _, ok := strings.Cut(label, "="); ok {
					labels = append(labels, name)
				}
			}
			known[parts[1]] = labels
		}
	}
	return known
}
