//go:build !otlp

package main

import (
	"context"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// startTraces traces nothing: the exporter would make the program half as large
// again, for the few who want it. They build it with -tags otlp.
func startTraces(ctx context.Context, log *slog.Logger) (trace.TracerProvider, func(), error) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if os.Getenv(name) != "" {
			log.WarnContext(ctx, "traces are asked for, and this program was built without them; build it with -tags otlp", "variable", name)
		}
	}
	return noop.NewTracerProvider(), func() {}, nil
}
