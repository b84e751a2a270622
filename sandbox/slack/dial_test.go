package slack

import (
	"testing"

	"github.com/gorilla/websocket"
)

func dialer() *websocket.Dialer { return &websocket.Dialer{} }

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ws, resp, err := dialer().Dial(url, map[string][]string{"Origin": {"https://api.slack.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	return ws
}
