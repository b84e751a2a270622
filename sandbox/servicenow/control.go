package servicenow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Control serves the stand-in's own settings:
//
//	GET  /                  the whole state
//	PUT  /changes/{number}  makes or replaces a change; instants as spans from now: "-1h", "2h", "" for none
//	POST /settings          {"unreadable": true}: the bot's user may not read work notes
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		conditions.WriteJSON(w, http.StatusOK, "application/json", s.State())
	})
	mux.HandleFunc("PUT /changes/{number}", s.putChange)
	mux.HandleFunc("POST /settings", s.postSettings)
	return mux
}

// changeForm is a change as people write it.
type changeForm struct {
	Summary  string `json:"short_description"`
	State    string `json:"state"`
	Approval string `json:"approval"`
	Start    string `json:"start"`
	End      string `json:"end"`
}

func (s *Server) putChange(w http.ResponseWriter, r *http.Request) {
	var form changeForm
	if err := strictly(w, r, &form); err != nil {
		complain(w, err)
		return
	}
	start, err := s.fromNow(form.Start)
	if err == nil {
		var end time.Time
		if end, err = s.fromNow(form.End); err == nil {
			s.Put(Change{
				Number: r.PathValue("number"), Summary: cmp.Or(form.Summary, "Rotate a client secret"),
				State: cmp.Or(form.State, "-1"), Approval: cmp.Or(form.Approval, "approved"), Start: start, End: end,
			})
			conditions.WriteJSON(w, http.StatusOK, "application/json", s.State())
			return
		}
	}
	complain(w, err)
}

// fromNow reads a span from now, by the sandbox's clock.
func (s *Server) fromNow(span string) (time.Time, error) {
	if span == "" {
		return time.Time{}, nil
	}
	d, err := time.ParseDuration(span)
	if err != nil {
		return time.Time{}, fmt.Errorf("start and end are spans from now such as \"-1h\" or \"2h\", not %q", span)
	}
	return s.conditions.Clock.Now().Add(d), nil
}

func (s *Server) postSettings(w http.ResponseWriter, r *http.Request) {
	var form struct {
		Unreadable bool `json:"unreadable"`
	}
	if err := strictly(w, r, &form); err != nil {
		complain(w, err)
		return
	}
	s.HideNotes(form.Unreadable)
	conditions.WriteJSON(w, http.StatusOK, "application/json", s.State())
}

// HideNotes says whether the bot's user may not read work notes.
func (s *Server) HideNotes(hide bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unreadable = hide
}

func strictly(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return nil
}

func complain(w http.ResponseWriter, err error) {
	conditions.WriteJSON(w, http.StatusBadRequest, "application/json", map[string]string{"error": err.Error()})
}
