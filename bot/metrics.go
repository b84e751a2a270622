package bot

import (
	"fmt"
	"net/http"
	"path"

	vm "github.com/VictoriaMetrics/metrics"
)

// metrics are what operators watch of the bot; docs/operating.md says what each is.
type metrics struct {
	set          *vm.Set
	connections  *vm.Gauge
	acknowledged *vm.PrometheusHistogram
}

func newMetrics(set *vm.Set) *metrics {
	return &metrics{
		set:         set,
		connections: set.GetOrCreateGauge("twokey_slack_connections", nil),
		acknowledged: set.GetOrCreatePrometheusHistogramExt("twokey_slack_acknowledge_seconds",
			[]float64{.001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 3}),
	}
}

// Counters, each with one label. Its values come from us or from Slack's own lists,
// never from people.
func (m *metrics) envelopes(kind string) *vm.Counter {
	return m.counter("twokey_slack_envelopes_total", "kind", kind)
}

func (m *metrics) unacknowledged(reason string) *vm.Counter {
	return m.counter("twokey_slack_unacknowledged_total", "reason", reason)
}

func (m *metrics) posts(kind string) *vm.Counter {
	return m.counter("twokey_slack_posts_total", "kind", kind)
}

func (m *metrics) postFailures(code string) *vm.Counter {
	return m.counter("twokey_slack_post_failures_total", "error", code)
}

func (m *metrics) throttled(method string) *vm.Counter {
	return m.counter("twokey_slack_throttled_total", "method", method)
}

func (m *metrics) counter(name, label, value string) *vm.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("%s{%s=%q}", name, label, value))
}

// meter counts the calls that Slack throttled.
type meter struct {
	next *http.Client
	m    *metrics
}

// Do implements what slack-go wants of an HTTP client.
func (h meter) Do(req *http.Request) (*http.Response, error) {
	resp, err := h.next.Do(req)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		h.m.throttled(path.Base(req.URL.Path)).Inc()
	}
	return resp, err
}
