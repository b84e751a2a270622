package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/internal/need"
)

// Each benchmark runs short here: that it works counts, and not what it measures.

func TestAcknowledgementsAreMeasuredAgainstBolt(t *testing.T) {
	b := ackBenchmark{nodeFlag: bolt(t), Rounds: 2, Length: time.Second, Rate: 20, Warm: time.Second, Line: "/rotate help", Request: 10}
	measured := measure(t, &b)
	wants(t, measured, "that were acknowledged are in the database", "p99 over all rounds: ", "× Bolt's; must reach 1.00: ")
}

func TestARotationIsMeasuredStepByStep(t *testing.T) {
	b := rotationBenchmark{Runs: 1, slowness: slowness{Latency: time.Millisecond, Learn: time.Second, Forget: time.Second, Overlap: time.Second}}
	measured := measure(t, &b)
	for _, w := range b.waits() {
		if !strings.Contains(measured, w.step+"  ") || strings.Contains(measured, w.step+"  0.00 s") {
			t.Errorf("%s was not measured", w.step)
		}
	}
	wants(t, measured, "1 graph.addPassword", "1 ecs.UpdateService", "must reach 1.10: ")
}

func TestManyRotationsAreMeasuredAgainstTheVendorsLimits(t *testing.T) {
	b := manyBenchmark{AtOnce: 2, WriteTime: 50 * time.Millisecond, slowness: slowness{Latency: time.Millisecond, Learn: time.Second, Forget: time.Second, Overlap: time.Second}}
	wants(t, measure(t, &b), "2 rotations, confirmed at once", "done after ", "told after ", "must reach 1.10: ")
}

func TestAnEmergencyIsMeasuredAgainstTheScript(t *testing.T) {
	need.Program(t, "aws", "pip install awscli")
	for _, tool := range []string{"curl", "jq", "bash"} {
		need.Program(t, tool, "apt-get install "+tool+" (Debian)")
	}
	b := emergencyBenchmark{Runs: 1, Latency: time.Millisecond, Poll: 1}
	measured := measure(t, &b)
	for _, s := range stages() {
		if !strings.Contains(measured, s.what+"  ") {
			t.Errorf("when %s was not measured", s.what)
		}
	}
	wants(t, measured, "to the arrival of removePassword: median ", "must reach 1.10: ", "11 cloudtrail.LookupEvents", "× the script; must reach 0.50: ")
}

func TestAStageThatTheScriptDidNotReachIsAnError(t *testing.T) {
	if _, err := readStages(strings.NewReader("done 1.5 ready\ndone 2.5 removed\n")); err == nil {
		t.Error("half an emergency was taken for a whole one")
	}
}

func TestStartsAreMeasuredAgainstBolt(t *testing.T) {
	b := startBenchmark{nodeFlag: bolt(t), Starts: 1}
	wants(t, measure(t, &b), "first start:  median ", "later starts: median ", "Bolt app:     median ", "must reach 1.00: ")
}

func TestMemoryIsMeasuredAgainstBolt(t *testing.T) {
	b := memoryBenchmark{nodeFlag: bolt(t), Idle: time.Millisecond, Runs: 1}
	wants(t, measure(t, &b), "twokey: median ", "Bolt app: median ", "must reach 1.00: ")
}

func TestTheProgramIsWeighed(t *testing.T) {
	wants(t, measure(t, &sizeBenchmark{}), " MB, ", "must reach 1.00: ")
}

// bolt finds the Bolt app, or skips the test.
func bolt(t *testing.T) nodeFlag {
	t.Helper()
	need.Node(t, "node")
	return nodeFlag{Node: "node"}
}

func measure(t *testing.T, b benchmark) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := b.Run(ctx, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

func wants(t *testing.T, measured string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(measured, part) {
			t.Errorf("%q is missing in:\n%s", part, measured)
		}
	}
}

func TestWithoutACommandTheProgramSaysWhatItMeasures(t *testing.T) {
	for _, words := range [][]string{nil, {"--help"}} {
		var out bytes.Buffer
		if err := run(t.Context(), words, &out); err != nil {
			t.Error(err)
		}
		wants(t, out.String(), "ack", "rotation", "many", "emergency", "start", "memory", "size")
	}
	if err := run(t.Context(), []string{"speed"}, &bytes.Buffer{}); err == nil {
		t.Error("an unknown benchmark is no error")
	}
}

func TestPercentilesAreValuesThatWereMeasured(t *testing.T) {
	var values []float64
	for i := range 200 {
		values = append(values, float64(200-i))
	}
	for p, want := range map[float64]float64{0: 1, 50: 100, 99: 198, 100: 200} {
		if got := percentile(values, p); got != want {
			t.Errorf("p%v is %v, want %v", p, got, want)
		}
	}
	if got := percentile([]float64{7}, 99); got != 7 {
		t.Errorf("the p99 of one value is %v", got)
	}
	if !slices.IsSortedFunc(values, func(a, b float64) int { return int(b - a) }) {
		t.Error("the values were put in another order")
	}
}

func TestABenchmarkWithoutBoltSaysHowToInstallIt(t *testing.T) {
	b := startBenchmark{nodeFlag: nodeFlag{Node: t.TempDir()}, Starts: 1}
	if err := b.Run(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "npm ci --prefix") {
		t.Errorf("got %v", err)
	}
}
