package bot_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twokey/twokey/bot"
	"github.com/twokey/twokey/operation"
)

func TestTheTokenTravelsInTheHeaderAndTheRestOfAFormIsLeftAlone(t *testing.T) {
	t.Parallel()
	const token = "xoxb-1%2&3=4"
	calls := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Errorf("read the form: %v", err)
		}
		calls <- r
		_, _ = w.Write([]byte(`{"ok":true,"message_ts":"1.2"}`)) // the client would say that it got nothing
	}))
	defer server.Close()
	b, err := bot.New(bot.Config{AppToken: operation.NewSecret("xapp-1"), BotToken: operation.NewSecret(token), APIURL: server.URL, Inbox: &inbox{}})
	if err != nil {
		t.Fatal(err)
	}
	const said = "a&token=b token=c & d"
	if err := b.Whisper(t.Context(), bot.Intent{Channel: "C0OPS", User: "U0ALICE"}, said); err != nil {
		t.Fatal(err)
	}
	got := <-calls
	if h := got.Header.Get("Authorization"); h != "Bearer "+token {
		t.Errorf("Authorization: %s", h)
	}
	form := got.PostForm
	if form.Has("token") || form.Get("channel") != "C0OPS" || form.Get("user") != "U0ALICE" || form.Get("text") != strings.ReplaceAll(said, "&", "&amp;") || form.Get("blocks") == "" {
		t.Errorf("the form is %v", form)
	}
}
