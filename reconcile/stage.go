package reconcile

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/idpsync/idpsync/store/identity"
)

// stages measures and traces the phases of a run, one after the other.
type stages struct {
	metrics   *Metrics
	connector string
	tracer    trace.Tracer

	name  string // of the phase that is going, or ""
	began time.Time
	span  trace.Span
}

// enter begins a phase, unless it is going already, and returns the context of what is done in it.
func (s *stages) enter(ctx context.Context, name string) context.Context {
	if name != s.name {
		s.end(nil)
		s.name, s.began = name, time.Now()
		_, s.span = s.tracer.Start(ctx, name)
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// end ends the phase that is going.
func (s *stages) end(err error) {
	if s.name == "" {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
	s.metrics.phases.WithLabelValues(s.connector, s.name).Observe(time.Since(s.began).Seconds())
	s.name = ""
}

// traceRun starts the span of a run.
func (e *Engine) traceRun(ctx context.Context, run *identity.Run, name string) (context.Context, trace.Span) {
	ctx, span := e.tracer.Start(ctx, name)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("idpsync.run_id", run.ID), attribute.String("idpsync.connector", run.Connector),
			attribute.String("idpsync.kind", run.Kind), attribute.String("idpsync.trigger", run.Trigger), attribute.Bool("idpsync.dry_run", run.DryRun))
	}
	return ctx, span
}

// endRun ends the span of a run. Counts are told, and never of whom; nor the text of an error, which quotes the provider.
func endRun(span trace.Span, run *identity.Run, err error) {
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("idpsync.kind", run.Kind), attribute.String("idpsync.status", string(run.Status)),
			attribute.Int("idpsync.users", run.Counts.Users), attribute.Int("idpsync.groups", run.Counts.Groups), attribute.Int("idpsync.members", run.Counts.Members),
			attribute.Int("idpsync.changes", run.Counts.Planned()), attribute.Int("idpsync.applied", run.Counts.Applied), attribute.Int("idpsync.held", run.Counts.Held))
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}
