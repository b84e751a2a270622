package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/twokey/twokey/sandbox/conditions"
)

// vendor words the faults that are set from outside as Slack would.
type vendor struct{}

// Operation implements [conditions.Vendor].
func (vendor) Operation(r *http.Request) string {
	path := strings.Trim(r.URL.Path, "/")
	if method, ok := strings.CutPrefix(path, "api/"); ok {
		return "slack." + method
	}
	kind, _, _ := strings.Cut(path, "/")
	return "slack." + kind
}

// WriteFault implements [conditions.Vendor]. Slack refuses with status 200.
func (vendor) WriteFault(w http.ResponseWriter, _ *http.Request, f conditions.Fault) {
	status, code := http.StatusOK, f.Code
	switch f.Kind {
	case conditions.Throttle:
		status, code = http.StatusTooManyRequests, "ratelimited"
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "1")
		}
	case conditions.ServerErr:
		status, code = http.StatusInternalServerError, "internal_error"
	default:
		if f.Status != 0 {
			status = f.Status
		}
	}
	if code == "" {
		code = "fatal_error"
	}
	writeJSON(w, status, object{"ok": false, "error": code})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	conditions.WriteJSON(w, status, "application/json; charset=utf-8", v)
}

// apiError is a refusal by Slack: {"ok":false,"error":name} and more.
type apiError struct {
	name       string
	messages   []string // response_metadata.messages, without "[ERROR] "
	needed     string   // of missing_scope
	retryAfter int      // seconds, of ratelimited
}

func (e *apiError) Error() string { return e.name }

func refuse(name string) error { return &apiError{name: name} }

// call is one request of a Web API method.
type call struct {
	*Server
	p     params
	token *token
	base  string
}

// method is one method of the Web API.
type method struct {
	kind   tokenKind
	scopes []string // any one of them suffices; none is needed if empty
	limit  limit
	// formOnly methods do not read a JSON body; its arguments are missing then.
	formOnly bool
	required []string
	do       func(*call) (object, error)
}

func (s *Server) serveMethod(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Slack-Req-Id", randomHex(16))
	answer, err := s.answer(w.Header(), r)
	if err == nil {
		answer["ok"] = true
		writeJSON(w, http.StatusOK, answer)
		return
	}
	var refused *apiError
	if !errors.As(err, &refused) {
		refused = &apiError{name: "internal_error", messages: []string{err.Error()}}
	}
	writeRefusal(w, refused)
}

func writeRefusal(w http.ResponseWriter, e *apiError) {
	body := object{"ok": false, "error": e.name}
	if e.needed != "" {
		body["needed"], body["provided"] = e.needed, w.Header().Get("X-OAuth-Scopes")
	}
	if len(e.messages) > 0 {
		lines := make([]string, len(e.messages))
		for i, m := range e.messages {
			lines[i] = "[ERROR] " + m
		}
		body["errors"], body["response_metadata"] = e.messages, object{"messages": lines}
	}
	status := http.StatusOK
	if e.retryAfter > 0 {
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	writeJSON(w, status, body)
}

// answer runs the method: token, scope, limit, then the method itself.
func (s *Server) answer(header http.Header, r *http.Request) (object, error) {
	m, ok := methods()[r.PathValue("method")]
	if !ok {
		return nil, refuse("unknown_method")
	}
	p, err := readParams(r, m.formOnly)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = baseOf(r)
	t, err := s.authenticate(r, p)
	if err != nil {
		return nil, err
	}
	header.Set("X-OAuth-Scopes", strings.Join(t.Scopes, ","))
	header.Set("X-Accepted-OAuth-Scopes", strings.Join(m.scopes, ","))
	c := &call{Server: s, p: p, token: t, base: s.base}
	if t.Kind != m.kind && m.kind != "" {
		return nil, refuse("not_allowed_token_type")
	}
	if len(m.scopes) > 0 {
		if err := c.need(m.scopes...); err != nil {
			return nil, err
		}
	}
	if err := s.take(r.PathValue("method"), m.limit); err != nil {
		return nil, err
	}
	if err := m.complete(p); err != nil {
		return nil, err
	}
	return m.do(c)
}

func (s *Server) authenticate(r *http.Request, p params) (*token, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		text = p.text("token")
	}
	if text == "" {
		return nil, refuse("not_authed")
	}
	t, ok := s.tokens[text]
	switch {
	case !ok:
		return nil, refuse("invalid_auth")
	case t.Error != "":
		return nil, refuse(t.Error)
	}
	return t, nil
}

// need refuses with missing_scope unless the token has one of the scopes.
func (c *call) need(scopes ...string) error {
	for _, scope := range scopes {
		if slices.Contains(c.token.Scopes, scope) {
			return nil
		}
	}
	return &apiError{name: "missing_scope", needed: strings.Join(scopes, ",")}
}

// params are a call's arguments, from the address, a form or a JSON body.
type params map[string]any

// readParams reads arguments the way Slack takes them.
func readParams(r *http.Request, formOnly bool) (params, error) {
	p := params{}
	add := func(values url.Values) {
		for k, v := range values {
			p[k] = v[0]
		}
	}
	add(r.URL.Query())
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return p, nil // a GET, or a POST without a body
	}
	switch kind {
	case "application/json":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, refuse("request_timeout")
		}
		if len(body) == 0 || formOnly {
			return p, nil
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, refuse("invalid_json")
		}
		fields, ok := v.(map[string]any)
		if !ok {
			return nil, refuse("json_not_object")
		}
		maps.Copy(p, fields)
	case "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return nil, refuse("invalid_form_data")
		}
		add(r.PostForm)
	case "multipart/form-data":
		if err := r.ParseMultipartForm(16 << 20); err != nil {
			return nil, refuse("invalid_form_data")
		}
		add(r.PostForm)
	default:
		return nil, refuse("invalid_post_type")
	}
	return p, nil
}

// text returns an argument as text; numbers and truth values become their text.
func (p params) text(name string) string {
	switch v := p[name].(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

func (p params) has(name string) bool {
	v, ok := p[name]
	return ok && v != nil
}

func (p params) truth(name string) bool {
	t := p.text(name)
	return t == "true" || t == "1"
}

// number returns a whole number, or fallback when there is none.
func (p params) number(name string, fallback int) int {
	n, err := strconv.Atoi(p.text(name))
	if err != nil {
		return fallback
	}
	return n
}

// list returns a comma-separated list.
func (p params) list(name string) []string {
	if l, ok := p[name].([]any); ok {
		out := make([]string, 0, len(l))
		for _, v := range l {
			out = append(out, fmt.Sprint(v))
		}
		return out
	}
	t := p.text(name)
	if t == "" {
		return nil
	}
	parts := strings.Split(t, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// json returns an argument that is JSON: nested in a JSON body, as text in a form.
func (p params) json(name string) (any, error) {
	text, ok := p[name].(string)
	if !ok {
		return p[name], nil
	}
	if text == "" {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("decode %s: %w", name, err)
	}
	return v, nil
}

// limit is how often a method may be called.
type limit struct {
	perMinute float64
	burst     float64
}

// The tiers of Slack's documentation. A minute's worth may come at once.
func tier2() limit { return limit{20, 20} }
func tier3() limit { return limit{50, 50} }
func tier4() limit { return limit{100, 100} }

// posting is one message a second and channel, with a short burst; workspace is
// what all channels together may take.
func posting() limit   { return limit{60, 4} }
func workspace() limit { return limit{300, 300} }
func special() limit   { return limit{600, 600} }

// bucket is what is left of one limit.
type bucket struct {
	tokens float64
	at     float64 // the sandbox's time in seconds
}

// take counts one call against a limit, or refuses with ratelimited.
func (s *Server) take(key string, l limit) error {
	if !s.settings.Limits || l.perMinute == 0 {
		return nil
	}
	scale := s.settings.LimitScale
	if scale <= 0 {
		scale = 1
	}
	rate, burst := l.perMinute*scale/60, math.Max(1, l.burst*scale)
	now := float64(s.cond.Clock.Now().UnixNano()) / 1e9
	b, ok := s.buckets[key]
	if !ok {
		b = &bucket{tokens: burst, at: now}
		s.buckets[key] = b
	}
	if now > b.at {
		b.tokens = math.Min(burst, b.tokens+(now-b.at)*rate)
	}
	b.at = now
	if b.tokens < 1 {
		return &apiError{name: "ratelimited", retryAfter: max(1, int(math.Ceil((1-b.tokens)/rate)))}
	}
	b.tokens--
	return nil
}

// methods is the whole Web API served here: scopes, tiers, required arguments
// and whether JSON is read are those of Slack's method reference.
func methods() map[string]method {
	family := func(what string) []string {
		return []string{"channels:" + what, "groups:" + what, "im:" + what, "mpim:" + what}
	}
	manage := []string{"channels:manage", "groups:write", "im:write", "mpim:write"}
	invite := append([]string{"channels:write.invites", "groups:write.invites"}, manage...)
	topic := append([]string{"channels:write.topic", "groups:write.topic"}, manage...)
	return map[string]method{
		"api.test":              {limit: tier4(), do: func(*call) (object, error) { return object{}, nil }},
		"auth.test":             {limit: special(), do: (*call).authTest},
		"apps.connections.open": {kind: appToken, scopes: []string{"connections:write"}, limit: tier3(), do: (*call).openConnection},
		"team.info":             {kind: botToken, scopes: []string{"team:read"}, limit: tier3(), do: (*call).teamInfo},

		"chat.postMessage":            {kind: botToken, scopes: []string{"chat:write"}, limit: workspace(), required: []string{"channel"}, do: (*call).postMessage},
		"chat.update":                 {kind: botToken, scopes: []string{"chat:write"}, limit: tier3(), required: []string{"channel", "ts"}, do: (*call).updateMessage},
		"chat.delete":                 {kind: botToken, scopes: []string{"chat:write"}, limit: tier3(), required: []string{"channel", "ts"}, do: (*call).deleteMessage},
		"chat.postEphemeral":          {kind: botToken, scopes: []string{"chat:write"}, limit: tier4(), required: []string{"channel", "user"}, do: (*call).postEphemeral},
		"chat.scheduleMessage":        {kind: botToken, scopes: []string{"chat:write"}, limit: tier3(), required: []string{"channel", "post_at"}, do: (*call).scheduleMessage},
		"chat.deleteScheduledMessage": {kind: botToken, scopes: []string{"chat:write"}, limit: tier3(), required: []string{"channel", "scheduled_message_id"}, do: (*call).deleteScheduledMessage},
		"chat.scheduledMessages.list": {kind: botToken, limit: tier3(), do: (*call).listScheduledMessages},
		"chat.getPermalink":           {kind: botToken, limit: special(), formOnly: true, required: []string{"channel", "message_ts"}, do: (*call).permalink},

		"conversations.info":     {kind: botToken, scopes: family("read"), limit: tier3(), formOnly: true, required: []string{"channel"}, do: (*call).conversationInfo},
		"conversations.list":     {kind: botToken, scopes: family("read"), limit: tier2(), formOnly: true, do: (*call).conversationList},
		"conversations.members":  {kind: botToken, scopes: family("read"), limit: tier4(), formOnly: true, required: []string{"channel"}, do: (*call).conversationMembers},
		"conversations.history":  {kind: botToken, scopes: family("history"), limit: tier3(), required: []string{"channel"}, do: (*call).history},
		"conversations.replies":  {kind: botToken, scopes: family("history"), limit: tier3(), formOnly: true, required: []string{"channel", "ts"}, do: (*call).replies},
		"conversations.open":     {kind: botToken, scopes: manage, limit: tier3(), do: (*call).openDirect},
		"conversations.create":   {kind: botToken, scopes: manage, limit: tier2(), do: (*call).createChannel},
		"conversations.invite":   {kind: botToken, scopes: invite, limit: tier3(), required: []string{"channel"}, do: (*call).invite},
		"conversations.setTopic": {kind: botToken, scopes: topic, limit: tier2(), required: []string{"channel", "topic"}, do: (*call).setTopic},
		"conversations.archive":  {kind: botToken, scopes: manage, limit: tier2(), required: []string{"channel"}, do: (*call).archive},
		"conversations.join":     {kind: botToken, scopes: []string{"channels:join"}, limit: tier3(), required: []string{"channel"}, do: (*call).join},

		"pins.add":       {kind: botToken, scopes: []string{"pins:write"}, limit: tier2(), required: []string{"channel"}, do: (*call).addPin},
		"pins.remove":    {kind: botToken, scopes: []string{"pins:write"}, limit: tier2(), required: []string{"channel"}, do: (*call).removePin},
		"pins.list":      {kind: botToken, scopes: []string{"pins:read"}, limit: tier2(), formOnly: true, required: []string{"channel"}, do: (*call).listPins},
		"bookmarks.add":  {kind: botToken, scopes: []string{"bookmarks:write"}, limit: tier2(), required: []string{"channel_id", "title", "type"}, do: (*call).addBookmark},
		"bookmarks.edit": {kind: botToken, scopes: []string{"bookmarks:write"}, limit: tier2(), required: []string{"channel_id", "bookmark_id"}, do: (*call).editBookmark},
		"bookmarks.list": {kind: botToken, scopes: []string{"bookmarks:read"}, limit: tier3(), required: []string{"channel_id"}, do: (*call).listBookmarks},
		"reactions.add":  {kind: botToken, scopes: []string{"reactions:write"}, limit: tier3(), required: []string{"channel", "name", "timestamp"}, do: (*call).addReaction},

		"users.info":            {kind: botToken, scopes: []string{"users:read"}, limit: tier4(), formOnly: true, required: []string{"user"}, do: (*call).userInfo},
		"users.list":            {kind: botToken, scopes: []string{"users:read"}, limit: tier2(), formOnly: true, do: (*call).userList},
		"users.lookupByEmail":   {kind: botToken, scopes: []string{"users:read.email"}, limit: tier3(), formOnly: true, required: []string{"email"}, do: (*call).userByEmail},
		"users.conversations":   {kind: botToken, scopes: family("read"), limit: tier3(), formOnly: true, do: (*call).userConversations},
		"users.profile.get":     {kind: botToken, scopes: []string{"users.profile:read"}, limit: tier4(), formOnly: true, do: (*call).userProfile},
		"usergroups.list":       {kind: botToken, scopes: []string{"usergroups:read"}, limit: tier2(), formOnly: true, do: (*call).groupList},
		"usergroups.users.list": {kind: botToken, scopes: []string{"usergroups:read"}, limit: tier2(), formOnly: true, required: []string{"usergroup"}, do: (*call).groupUsers},

		"views.open":    {kind: botToken, limit: tier4(), required: []string{"view"}, do: (*call).openView},
		"views.push":    {kind: botToken, limit: tier4(), required: []string{"view"}, do: (*call).pushView},
		"views.update":  {kind: botToken, limit: tier4(), required: []string{"view"}, do: (*call).updateView},
		"views.publish": {kind: botToken, limit: tier4(), required: []string{"user_id", "view"}, do: (*call).publishView},

		"files.getUploadURLExternal":   {kind: botToken, scopes: []string{"files:write"}, limit: tier4(), formOnly: true, required: []string{"length", "filename"}, do: (*call).uploadURL},
		"files.completeUploadExternal": {kind: botToken, scopes: []string{"files:write"}, limit: tier4(), required: []string{"files"}, do: (*call).completeUpload},
		"files.info":                   {kind: botToken, scopes: []string{"files:read"}, limit: tier4(), formOnly: true, required: []string{"file"}, do: (*call).fileInfo},
	}
}

// complete refuses a call that lacks a required argument.
func (m method) complete(p params) error {
	var missing []string
	for _, name := range m.required {
		if !p.has(name) {
			missing = append(missing, "missing required field: "+name)
		}
	}
	if len(missing) > 0 {
		return &apiError{name: "invalid_arguments", messages: missing}
	}
	return nil
}

func (c *call) authTest() (object, error) {
	out := object{"url": "https://" + c.team.Domain + ".slack.com/", "team": c.team.Name, "team_id": c.team.ID}
	if c.token.Kind == appToken {
		out["app_name"], out["app_id"] = c.app.Name, c.app.ID
		return out, nil
	}
	out["user"], out["user_id"], out["bot_id"] = c.app.Name, c.app.BotUser, c.app.BotID
	out["is_enterprise_install"] = false
	if c.team.Enterprise != "" {
		out["enterprise_id"] = c.team.Enterprise
	}
	return out, nil
}

func (c *call) teamInfo() (object, error) {
	return object{"team": object{"id": c.team.ID, "name": c.team.Name, "domain": c.team.Domain, "email_domain": ""}}, nil
}
