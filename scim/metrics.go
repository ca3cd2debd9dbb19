package scim

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count requests.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_scim_requests_total", Help: "SCIM requests, by route pattern, method and status code.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "idpsync_scim_request_duration_seconds", Help: "How long SCIM requests took, by route pattern and method.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
	}
	r.MustRegister(m.requests, m.duration)
	return m
}

// served counts a request, and tells who wants to know.
func (h *Handler) served(r *request, status int, took time.Duration) {
	actions, id := h.actions(r.segments)
	route, method := "other", "other"
	if actions != nil {
		route = routeOf(r.segments, id)
		if r.Method == http.MethodHead || actions[r.Method] != nil {
			method = r.Method
		}
	}
	if m := h.opt.Metrics; m != nil {
		m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(route, method).Observe(took.Seconds())
	}
	if h.opt.Served != nil {
		if route != "other" {
			route = Root + route
		} else {
			route = ""
		}
		h.opt.Served(r.Context(), route, r.principal.KeyID)
	}
}

// routeOf returns the pattern of a path that is served, behind Root: a closed set, whatever clients ask for.
func routeOf(segments []string, id string) string {
	switch {
	case len(segments) == 0:
		return "/"
	case id != "" && id != ".search":
		return "/" + segments[0] + "/{id}"
	}
	return "/" + strings.Join(segments, "/")
}
