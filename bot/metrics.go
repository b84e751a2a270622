package bot

import (
	"net/http"
	"path"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators watch of the bot.
type metrics struct {
	connections    prometheus.Gauge
	envelopes      *prometheus.CounterVec
	unacknowledged *prometheus.CounterVec
	acknowledged   prometheus.Histogram
	posts          *prometheus.CounterVec
	postFailures   *prometheus.CounterVec
	throttled      *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "twokey_slack_connections", Help: "Socket Mode connections on which Slack said hello."}),
		envelopes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twokey_slack_envelopes_total", Help: "Envelopes received, by kind; repeated ones count again."}, []string{"kind"}),
		unacknowledged: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twokey_slack_unacknowledged_total", Help: "Envelopes left for Slack to send again, by reason."}, []string{"reason"}),
		acknowledged: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "twokey_slack_acknowledge_seconds", Help: "From an envelope's arrival to its acknowledgement; Slack allows 3 seconds.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 3}}),
		posts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twokey_slack_posts_total", Help: "Messages posted and edited, by kind of notice."}, []string{"kind"}),
		postFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twokey_slack_post_failures_total", Help: "Messages that Slack did not take, by error."}, []string{"error"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twokey_slack_throttled_total", Help: "Calls that Slack answered with 429, by method."}, []string{"method"}),
	}
	for _, c := range []prometheus.Collector{m.connections, m.envelopes, m.unacknowledged, m.acknowledged, m.posts, m.postFailures, m.throttled} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
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
		h.m.throttled.WithLabelValues(path.Base(req.URL.Path)).Inc()
	}
	return resp, err
}
