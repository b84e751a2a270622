package aws

import (
	"encoding/json"
	"fmt"
	"time"
)

// Span is a duration that reads "1.5s" in JSON.
type Span time.Duration

// MarshalJSON implements json.Marshaler.
func (d Span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Span) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is a text such as \"1.5s\": %w", err)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("the duration %s is negative", text)
	}
	*d = Span(v)
	return nil
}

// Settings are how fast the stand-in's AWS works. Durations run on the
// sandbox's clock.
type Settings struct {
	TaskStart Span `json:"task_start"` // from a task's creation to its containers' start
	Health    Span `json:"health"`     // from the start to the first health verdict
	Drain     Span `json:"drain"`      // from the wish to stop to stopped
	// HealthInterval is how often a running task's health is asked again.
	HealthInterval Span `json:"health_interval"`
	// CloudTrailDelay is how long an event takes to become visible.
	CloudTrailDelay Span `json:"cloudtrail_delay"`
	// ReadsPerSecond and PutsPerSecond throttle SSM; 0 does not. AWS's own
	// standard throughput is 40 reads and 3 puts.
	ReadsPerSecond int `json:"reads_per_second"`
	PutsPerSecond  int `json:"puts_per_second"`
}

// DefaultSettings are quick enough for a demonstration.
func DefaultSettings() Settings {
	return Settings{
		TaskStart:      Span(300 * time.Millisecond),
		Health:         Span(200 * time.Millisecond),
		Drain:          Span(200 * time.Millisecond),
		HealthInterval: Span(250 * time.Millisecond),
	}
}

// Set changes the settings from now on; what is under way follows.
func (s *Server) Set(settings Settings) {
	s.mu.Lock()
	s.settings = settings
	s.mu.Unlock()
	s.look()
}

// Settings returns the settings in force.
func (s *Server) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// bucket is a token bucket that holds one second's worth.
type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes a token of the named bucket, which fills at rate tokens a second.
// The caller holds the lock.
func (s *Server) allow(name string, rate int, now time.Time) bool {
	if rate <= 0 {
		return true
	}
	b, ok := s.throughput[name]
	if !ok {
		b = &bucket{tokens: float64(rate), at: now}
		s.throughput[name] = b
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(float64(rate), b.tokens+passed.Seconds()*float64(rate))
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// throttled is AWS's refusal of a call too many.
func throttled() error { return refuse("ThrottlingException", "Rate exceeded") }
