package slack

import (
	"slices"
	"sync"
	"testing"

	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// BenchmarkCommandToAcknowledgement is what the stand-in itself takes: a client
// that only acknowledges, one command after the other from each processor.
func BenchmarkCommandToAcknowledgement(b *testing.B) {
	w := newWorld(b)
	w.connect(b, func(c *socketmode.Client, e socketmode.Event) {
		if _, ok := e.Data.(api.SlashCommand); ok {
			_ = c.Ack(*e.Request)
		}
	})
	var mu sync.Mutex
	var took []float64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := w.Command("alice", w.ops, "/rotate jira prod")
			if err != nil || !r.Acked {
				b.Errorf("got %+v, %v", r, err)
				return
			}
			mu.Lock()
			took = append(took, r.AckedMS)
			mu.Unlock()
		}
	})
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100], "p99-ms")
}
