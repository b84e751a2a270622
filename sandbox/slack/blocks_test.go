package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	api "github.com/slack-go/slack"
)

// repeat makes n times the same JSON with its number in it.
func repeat(n int, format string) string {
	var parts []string
	for i := range n {
		if strings.Contains(format, "%d") {
			parts = append(parts, fmt.Sprintf(format, i))
		} else {
			parts = append(parts, format)
		}
	}
	return strings.Join(parts, ",")
}

// long is a JSON text of n characters, each of three bytes.
func long(n int) string { return `"` + strings.Repeat("€", n) + `"` }

func TestBlocksAreHeldToSlacksLimits(t *testing.T) {
	button := `{"type":"button","action_id":"a%d","text":{"type":"plain_text","text":"x"}}`
	option := `{"text":{"type":"plain_text","text":"x"},"value":"v%d"}`
	for name, tc := range map[string]struct{ good, bad, want string }{
		"blocks in a message": {repeat(50, `{"type":"divider"}`), repeat(51, `{"type":"divider"}`), "no more than 50 items allowed [json-pointer:/blocks]"},
		"section text": {
			`{"type":"section","text":{"type":"mrkdwn","text":` + long(3000) + `}}`, `{"type":"section","text":{"type":"mrkdwn","text":` + long(3001) + `}}`,
			"must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
		},
		"fields": {
			`{"type":"section","fields":[` + repeat(10, `{"type":"mrkdwn","text":"x"}`) + `]}`, `{"type":"section","fields":[` + repeat(11, `{"type":"mrkdwn","text":"x"}`) + `]}`,
			"must have between 1 and 10 items [json-pointer:/blocks/0/fields]",
		},
		"field text": {
			`{"type":"section","fields":[{"type":"mrkdwn","text":` + long(2000) + `}]}`, `{"type":"section","fields":[{"type":"mrkdwn","text":` + long(2001) + `}]}`,
			"must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]",
		},
		"header": {
			`{"type":"header","text":{"type":"plain_text","text":` + long(150) + `}}`, `{"type":"header","text":{"type":"plain_text","text":` + long(151) + `}}`,
			"must be less than 151 characters [json-pointer:/blocks/0/text/text]",
		},
		"header in mrkdwn": {
			`{"type":"header","text":{"type":"plain_text","text":"x"}}`, `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`,
			`must be "plain_text" [json-pointer:/blocks/0/text/type]`,
		},
		"block_id": {
			`{"type":"divider","block_id":` + long(255) + `}`, `{"type":"divider","block_id":` + long(256) + `}`,
			"must be less than 256 characters [json-pointer:/blocks/0/block_id]",
		},
		"the same block_id twice": {
			`{"type":"divider","block_id":"a"},{"type":"divider","block_id":"b"}`, `{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}`,
			"`block_id` \"a\" already exists in this list of blocks [json-pointer:/blocks/1/block_id]",
		},
		"actions": {
			`{"type":"actions","elements":[` + repeat(25, button) + `]}`, `{"type":"actions","elements":[` + repeat(26, button) + `]}`,
			"must have between 1 and 25 items [json-pointer:/blocks/0/elements]",
		},
		"button text": {
			`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":` + long(75) + `}}]}`,
			`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":` + long(76) + `}}]}`,
			"must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
		},
		"button value": {
			`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"value":` + long(2000) + `}]}`,
			`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"value":` + long(2001) + `}]}`,
			"must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
		},
		"button style": {
			`{"type":"actions","elements":[{"type":"button","style":"danger","text":{"type":"plain_text","text":"x"}}]}`,
			`{"type":"actions","elements":[{"type":"button","style":"default","text":{"type":"plain_text","text":"x"}}]}`,
			"must be one of: primary, danger [json-pointer:/blocks/0/elements/0/style]",
		},
		"the same action_id twice": {
			`{"type":"actions","elements":[` + repeat(2, button) + `]}`,
			`{"type":"actions","block_id":"b","elements":[` + strings.ReplaceAll(repeat(2, button), "a1", "a0") + `]}`,
			"`action_id` \"a0\" already exists for block_id \"b\" [json-pointer:/blocks/0/elements/1/action_id]",
		},
		"confirm text": {
			`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"confirm":` + dialog(300) + `}]}`,
			`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"confirm":` + dialog(301) + `}]}`,
			"must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]",
		},
		"options": {
			`{"type":"actions","elements":[{"type":"static_select","options":[` + repeat(100, option) + `]}]}`,
			`{"type":"actions","elements":[{"type":"static_select","options":[` + repeat(101, option) + `]}]}`,
			"must have between 1 and 100 items [json-pointer:/blocks/0/elements/0/options]",
		},
		"an initial option": {
			`{"type":"actions","elements":[{"type":"static_select","options":[` + repeat(2, option) + `],"initial_option":` + fmt.Sprintf(option, 1) + `}]}`,
			`{"type":"actions","elements":[{"type":"static_select","options":[` + repeat(2, option) + `],"initial_option":` + fmt.Sprintf(option, 7) + `}]}`,
			"must match one of the provided options [json-pointer:/blocks/0/elements/0/initial_option]",
		},
		"context": {
			`{"type":"context","elements":[` + repeat(10, `{"type":"mrkdwn","text":"x"}`) + `]}`, `{"type":"context","elements":[` + repeat(11, `{"type":"mrkdwn","text":"x"}`) + `]}`,
			"must have between 1 and 10 items [json-pointer:/blocks/0/elements]",
		},
		"an empty text": {
			`{"type":"section","text":{"type":"mrkdwn","text":"x"}}`, `{"type":"section","text":{"type":"mrkdwn","text":""}}`,
			"must be more than 0 characters [json-pointer:/blocks/0/text/text]",
		},
		"a section without text":   {`{"type":"section","fields":[{"type":"mrkdwn","text":"x"}]}`, `{"type":"section"}`, "must define either `text` or `fields` [json-pointer:/blocks/0]"},
		"an alert in a message":    {`{"type":"divider"}`, `{"type":"alert","text":{"type":"mrkdwn","text":"x"}}`, "unsupported type: alert [json-pointer:/blocks/0/type]"},
		"an unknown block":         {`{"type":"divider"}`, `{"type":"marquee"}`, "unsupported type: marquee [json-pointer:/blocks/0/type]"},
		"a text input as a button": {`{"type":"divider"}`, `{"type":"actions","elements":[{"type":"plain_text_input"}]}`, "unsupported type: plain_text_input [json-pointer:/blocks/0/elements/0/type]"},
		"a plan's status": {
			`{"type":"plan","title":"Rotate","tasks":[{"type":"task_card","task_id":"1","title":"x","status":"complete"}]}`,
			`{"type":"plan","title":"Rotate","tasks":[{"type":"task_card","task_id":"1","title":"x","status":"done"}]}`,
			"must be one of: pending, in_progress, complete, error [json-pointer:/blocks/0/tasks/0/status]",
		},
		"a table's rows": {
			`{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]}`, `{"type":"table","rows":[` + repeat(101, `[{"type":"raw_text","text":"x"}]`) + `]}`,
			"must have between 1 and 100 items [json-pointer:/blocks/0/rows]",
		},
	} {
		if got := check(t, inMessage, tc.good); len(got) > 0 {
			t.Errorf("%s: the good one is refused: %v", name, got)
		}
		if got := check(t, inMessage, tc.bad); !slices.Equal(got, []string{tc.want}) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func dialog(n int) string {
	return `{"title":{"type":"plain_text","text":"x"},"text":{"type":"plain_text","text":` + long(n) + `},"confirm":{"type":"plain_text","text":"x"},"deny":{"type":"plain_text","text":"x"}}`
}

// check gives the problems of a list of blocks.
func check(t *testing.T, where surface, blocks string) []string {
	t.Helper()
	var list []any
	if err := json.Unmarshal([]byte("["+blocks+"]"), &list); err != nil {
		t.Fatalf("%v in %.200s", err, blocks)
	}
	s := &Server{settings: DefaultSettings()}
	_, problems := s.checkBlocks(list, where, "/blocks")
	return problems
}

func TestAViewIsHeldToSlacksLimits(t *testing.T) {
	title := `"title":{"type":"plain_text","text":"x"}`
	input := `{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input"}}`
	for name, tc := range map[string]struct{ kind, good, bad, want string }{
		"title":    {"modal", `{"type":"modal","title":{"type":"plain_text","text":` + long(24) + `},"blocks":[]}`, `{"type":"modal","title":{"type":"plain_text","text":` + long(25) + `},"blocks":[]}`, "must be less than 25 characters [json-pointer:/view/title/text]"},
		"no title": {"modal", `{"type":"modal",` + title + `,"blocks":[]}`, `{"type":"modal","blocks":[]}`, "missing required field: title [json-pointer:/view]"},
		"private_metadata": {
			"modal", `{"type":"modal",` + title + `,"blocks":[],"private_metadata":` + long(3000) + `}`, `{"type":"modal",` + title + `,"blocks":[],"private_metadata":` + long(3001) + `}`,
			"must be less than 3001 characters [json-pointer:/view/private_metadata]",
		},
		"input without submit": {
			"modal", `{"type":"modal",` + title + `,"submit":{"type":"plain_text","text":"x"},"blocks":[` + input + `]}`, `{"type":"modal",` + title + `,"blocks":[` + input + `]}`,
			"missing required field: submit (a view with input blocks needs it) [json-pointer:/view]",
		},
		"a hundred blocks": {
			"home", `{"type":"home","blocks":[` + repeat(100, `{"type":"divider"}`) + `]}`, `{"type":"home","blocks":[` + repeat(101, `{"type":"divider"}`) + `]}`,
			"no more than 100 items allowed [json-pointer:/view/blocks]",
		},
		"a plan": {"home", `{"type":"home","blocks":[]}`, `{"type":"home","blocks":[{"type":"plan","title":"x"}]}`, "unsupported type: plan [json-pointer:/view/blocks/0/type]"},
	} {
		s := &Server{settings: DefaultSettings()}
		view := func(text string) object {
			var v object
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
		if _, got := s.checkView(view(tc.good), tc.kind); len(got) > 0 {
			t.Errorf("%s: the good one is refused: %v", name, got)
		}
		if _, got := s.checkView(view(tc.bad), tc.kind); !slices.Equal(got, []string{tc.want}) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestInvalidBlocksAreExplained(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.client().PostMessage(w.ops, api.MsgOptionBlocks(section(strings.Repeat("x", 3001))))
	var refused api.SlackErrorResponse
	want := "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
	if !errors.As(err, &refused) || refused.Err != "invalid_blocks" || !slices.Equal(refused.ResponseMetadata.Messages, []string{want}) {
		t.Errorf("got %+v", err)
	}
	var long []api.Block
	for range 5 {
		long = append(long, section(strings.Repeat("x", 2900)))
	}
	_, _, err = w.client().PostMessage(w.ops, api.MsgOptionBlocks(long...))
	wants(t, err, "msg_blocks_too_long")
}

func TestAWorkspaceMayNotTakePlanBlocks(t *testing.T) {
	w := newWorld(t)
	plan := json.RawMessage(`{"type":"plan","title":"Rotate","tasks":[{"type":"task_card","task_id":"1","title":"make a secret","status":"in_progress"}]}`)
	var block api.PlanBlock
	if err := json.Unmarshal(plan, &block); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.client().PostMessage(w.ops, api.MsgOptionBlocks(&block)); err != nil {
		t.Errorf("by default: %v", err)
	}
	w.Set(func(s *Settings) { s.PlanBlocks = false })
	_, _, err := w.client().PostMessage(w.ops, api.MsgOptionBlocks(&block))
	wants(t, err, "invalid_blocks")
}
