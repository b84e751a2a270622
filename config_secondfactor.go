package main

import (
	"maps"
	"regexp"
	"slices"

	"github.com/twokey/twokey/internal/near"
	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// secondFactorSection says what takes a code of the approver's authenticator app
// besides the click, and whose apps there are.
type secondFactorSection struct {
	At             strict.Position
	Environments   []strict.Text     `yaml:"environments"`
	Emergencies    strict.Text       `yaml:"emergencies"`
	Authenticators map[string]source `yaml:"authenticators"` // by member id
}

// secondFactor puts the demand into the targets' policies, which are part of each
// plan, and returns the authenticators.
func (r *configReader) secondFactor(s secondFactorSection, targets []runbook.Target) map[operation.UserID]operation.Authenticator {
	var known []string
	for _, t := range targets {
		known = append(known, t.Environment)
	}
	wanted := map[string]bool{}
	for _, env := range s.Environments {
		if env.IsSet() && !slices.Contains(known, env.Value) {
			r.mistake(env.At, "second_factor.environments has %q, which no secret is in; %s", env.Value, near.Hint(env.Value, known))
		}
		wanted[env.Value] = true
	}
	emergencies := r.yes(s.Emergencies, "second_factor.emergencies")
	for i := range targets {
		targets[i].Policy.SecondFactor = wanted[targets[i].Environment]
		targets[i].EmergencySecondFactor = emergencies
	}
	switch demanded := emergencies || len(s.Environments) > 0; {
	case s.At.Line == 0:
	case demanded && len(s.Authenticators) < 2:
		r.mistake(s.At, "second_factor.authenticators needs at least two people, or what takes a code could not be confirmed when one of them asks; add authenticators: {U…: {env: TOTP_…}}, by member id (in Slack: the profile's ⋮ menu, Copy member ID)")
	case !demanded:
		r.mistake(s.At, "second_factor asks for no code anywhere; add environments: [prod] or emergencies: true, or remove it")
	}
	out := map[operation.UserID]operation.Authenticator{}
	for _, user := range slices.Sorted(maps.Keys(s.Authenticators)) {
		from, key := s.Authenticators[user], "second_factor.authenticators"
		if !regexp.MustCompile(`^[UW][A-Z0-9]{2,}$`).MatchString(user) {
			r.mistake(from.At, "%s: a person stands there by their member id, which begins with U, and not by name", key)
			continue
		}
		text := r.secret(from, s.At, key, "TOTP_"+user)
		if text.IsZero() {
			continue // told already
		}
		a, err := operation.NewAuthenticator(text)
		if err != nil {
			r.mistake(from.At, "%s: the secret of %s cannot be used: %s", key, user, err)
			continue
		}
		out[operation.UserID(user)] = a
	}
	return out
}
