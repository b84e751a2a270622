package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/twokey/twokey/store"
)

func BenchmarkReceive(b *testing.B) {
	s, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/x.db", store.Options{Now: time.Now, Log: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go s.Run(ctx, store.Handlers{Envelope: func(context.Context, json.RawMessage) error { return nil }}, quiet())
	time.Sleep(200 * time.Millisecond)
	body, _ := json.Marshal(map[string]string{"Text": "help", "xxxxxxxxxxxx": fmt.Sprintf("%0600d", 1)})
	i := 0
	for b.Loop() {
		i++
		if err := s.Receive(b.Context(), []store.Envelope{{ID: fmt.Sprint("e", i), Body: body}}); err != nil {
			b.Fatal(err)
		}
	}
}
