package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/twokey/twokey/sandbox/conditions"
)

// Control serves the stand-in's own settings; README.md lists them with examples.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /settings", s.controlSettings)
	mux.HandleFunc("PATCH /settings", s.changeSettings)
	mux.HandleFunc("POST /parameters", took(func(_ *http.Request, p Parameter) (any, error) { return p.Name, s.SeedParameter(p) }))
	mux.HandleFunc("POST /certificates", took(func(_ *http.Request, c Certificate) (any, error) { return s.SeedCertificate(c) }))
	mux.HandleFunc("POST /keys", took(func(_ *http.Request, keyID string) (any, error) { s.SeedKey(keyID); return keyID, nil }))
	mux.HandleFunc("POST /roles", took(func(_ *http.Request, r Role) (any, error) { return r.Name, s.SeedRole(r) }))
	mux.HandleFunc("POST /services", took(func(r *http.Request, v Service) (any, error) { return v.Name, s.SeedService(r.Context(), v) }))
	mux.HandleFunc("PUT /identities/{key}", took(func(r *http.Request, who Identity) (any, error) {
		s.SeedIdentity(r.PathValue("key"), who)
		return who, nil
	}))
	mux.HandleFunc("POST /events", took(func(_ *http.Request, e Event) (any, error) { return e.Name, s.SeedEvent(e) }))
	mux.HandleFunc("PUT /services/{cluster}/{service}/behaviour", took(func(r *http.Request, b Behaviour) (any, error) {
		return b, s.Behave(r.PathValue("cluster"), r.PathValue("service"), b)
	}))
	mux.HandleFunc("POST /services/{cluster}/{service}/kill", took(func(r *http.Request, n int) (any, error) {
		return s.Kill(r.PathValue("cluster"), r.PathValue("service"), n)
	}))
	return mux
}

// took reads a JSON body strictly, does f and answers with what it returns.
func took[In any](f func(*http.Request, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := strictly(r, &in); err != nil {
			controlError(w, http.StatusBadRequest, err)
			return
		}
		out, err := f(r, in)
		if err != nil {
			status := http.StatusBadRequest
			var e *apiError
			if errors.As(err, &e) && (e.Code == "ClusterNotFoundException" || e.Code == "ServiceNotFoundException") {
				status = http.StatusNotFound
			}
			controlError(w, status, err)
			return
		}
		conditions.WriteJSON(w, http.StatusOK, "application/json", map[string]any{"done": out})
	}
}

func strictly(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return nil
}

func controlError(w http.ResponseWriter, status int, err error) {
	conditions.WriteJSON(w, status, "application/json", map[string]string{"error": err.Error()})
}

func (s *Server) controlSettings(w http.ResponseWriter, _ *http.Request) {
	conditions.WriteJSON(w, http.StatusOK, "application/json", s.Settings())
}

// changeSettings changes those settings that the request names.
func (s *Server) changeSettings(w http.ResponseWriter, r *http.Request) {
	settings := s.Settings()
	if err := strictly(r, &settings); err != nil {
		controlError(w, http.StatusBadRequest, err)
		return
	}
	s.Set(settings)
	conditions.WriteJSON(w, http.StatusOK, "application/json", settings)
}
