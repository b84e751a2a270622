package mcp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Control serves the stand-in's own settings:
//
//	GET    /            the whole state
//	POST   /settings    replaces the settings of some services
//	DELETE /settings    removes all settings
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.State()) })
	mux.HandleFunc("POST /settings", s.postSettings)
	mux.HandleFunc("DELETE /settings", func(w http.ResponseWriter, _ *http.Request) {
		s.Clear()
		answer(w, s.State())
	})
	return mux
}

// settingsForm is Settings as people write them, with durations such as "2s".
type settingsForm struct {
	Environment   string `json:"environment,omitempty"`
	Server        string `json:"server,omitempty"`
	ToolText      string `json:"tool_text,omitempty"`
	ToolError     string `json:"tool_error,omitempty"`
	ToolsHidden   bool   `json:"tools_hidden,omitempty"`
	Unhealthy     bool   `json:"unhealthy,omitempty"`
	Slow          string `json:"slow,omitempty"`
	TokenLifetime string `json:"token_lifetime,omitempty"`
}

func (s *Server) postSettings(w http.ResponseWriter, r *http.Request) {
	var form settingsForm
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&form); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read the settings: %w", err))
		return
	}
	settings, err := form.settings()
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if s.Set(form.Environment, form.Server, settings) == 0 {
		refuse(w, http.StatusNotFound, fmt.Errorf("no service is %q in environment %q", form.Server, form.Environment))
		return
	}
	answer(w, s.State())
}

func (f settingsForm) settings() (Settings, error) {
	slow, err := duration("slow", f.Slow)
	if err != nil {
		return Settings{}, err
	}
	lifetime, err := duration("token_lifetime", f.TokenLifetime)
	if err != nil {
		return Settings{}, err
	}
	return Settings{ToolText: f.ToolText, ToolError: f.ToolError, ToolsHidden: f.ToolsHidden, Unhealthy: f.Unhealthy, Slow: slow, TokenLifetime: lifetime}, nil
}

func (s Settings) form() settingsForm {
	f := settingsForm{ToolText: s.ToolText, ToolError: s.ToolError, ToolsHidden: s.ToolsHidden, Unhealthy: s.Unhealthy}
	if s.Slow > 0 {
		f.Slow = s.Slow.String()
	}
	if s.TokenLifetime > 0 {
		f.TokenLifetime = s.TokenLifetime.String()
	}
	return f
}

func duration(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s must be a duration such as \"2s\", not %q", name, text)
	}
	return d, nil
}

func answer(w http.ResponseWriter, v any) {
	conditions.WriteJSON(w, http.StatusOK, "application/json", v)
}

func refuse(w http.ResponseWriter, status int, err error) {
	conditions.WriteJSON(w, status, "application/json", map[string]string{"error": err.Error()})
}

// serviceState is one service in the state.
type serviceState struct {
	Service
	Path     string        `json:"path"`
	Tools    []string      `json:"tools"`
	Settings *settingsForm `json:"settings,omitempty"`
	Tasks    []taskState   `json:"tasks"`
}

type taskState struct {
	ID           string    `json:"id"`
	Started      time.Time `json:"started"`
	ClientID     string    `json:"client_id"`
	ClientSecret string    `json:"client_secret"`
	TokenExpires time.Time `json:"token_expires,omitzero"`
	TokenTrouble string    `json:"token_trouble,omitempty"` // why the last request for a token failed
	Unhealthy    string    `json:"unhealthy,omitempty"`     // why it was unhealthy when last looked at
	ToolCalls    int       `json:"tool_calls"`
}

// State returns all services with their running tasks, as JSON can show it.
func (s *Server) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]serviceState, 0, len(s.services))
	for _, service := range s.services {
		v := serviceState{Service: service, Path: service.Path(), Tasks: []taskState{}}
		for _, tool := range catalogue(service.Server) {
			v.Tools = append(v.Tools, tool.name)
		}
		if set, ok := s.settings[service]; ok {
			form := set.form()
			v.Settings = &form
		}
		for _, t := range s.tasks {
			if t.service == service {
				v.Tasks = append(v.Tasks, t.state())
			}
		}
		slices.SortFunc(v.Tasks, func(a, b taskState) int { return cmp.Compare(a.ID, b.ID) })
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b serviceState) int { return strings.Compare(a.Path, b.Path) })
	return map[string]any{"services": all}
}

func (t *task) state() taskState {
	expires, trouble := t.tokens.state()
	t.mu.Lock()
	defer t.mu.Unlock()
	return taskState{
		ID: t.id, Started: t.started,
		ClientID: t.tokens.config.ClientID, ClientSecret: t.tokens.config.ClientSecret,
		TokenExpires: expires, TokenTrouble: trouble, Unhealthy: t.sick, ToolCalls: t.calls,
	}
}
