package main

import (
	"regexp"

	"github.com/twokey/twokey/integrations/servicenow"
	"github.com/twokey/twokey/internal/strict"
)

// serviceNowSection is where change requests are looked up, and told what came of them.
type serviceNowSection struct {
	At       strict.Position
	URL      strict.Text   `yaml:"url"`
	User     strict.Text   `yaml:"user"`
	Password source        `yaml:"password"`
	Token    source        `yaml:"token"`
	Table    strict.Text   `yaml:"table"`
	States   []strict.Text `yaml:"states"`
}

// implement is the value of ServiceNow's state Implement.
const implement = "-1"

// serviceNow reads the section. Without one no change is looked up, and the URL is empty.
func (r *configReader) serviceNow(s serviceNowSection) servicenow.Config {
	if s.At.Line == 0 {
		return servicenow.Config{}
	}
	c := servicenow.Config{User: s.User.Value, Table: s.Table.Or("change_request")}
	if s.URL.IsSet() {
		c.URL = r.secureURL(s.URL, "servicenow.url", "")
	} else {
		r.mistake(s.At, "servicenow.url is missing; add url: https://example.service-now.com")
	}
	switch {
	case s.Token.At.Line > 0 && (s.User.IsSet() || s.Password.At.Line > 0):
		r.mistake(s.At, "servicenow takes either token, or user and password; remove one of them")
	case s.Token.At.Line > 0:
		c.Token = r.secret(s.Token, s.At, "servicenow.token", "SERVICENOW_TOKEN")
	default:
		r.shape(s.User, s.At, "servicenow.user", `[^\s:]+`, "the user's name in ServiceNow; or token: {env: SERVICENOW_TOKEN} instead of user and password")
		c.Password = r.secret(s.Password, s.At, "servicenow.password", "SERVICENOW_PASSWORD")
	}
	if !regexp.MustCompile(`^[a-z0-9_]+$`).MatchString(c.Table) {
		r.mistake(s.Table.At, "servicenow.table must be a table's name, such as change_request")
	}
	for _, state := range s.States {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(state.Value) {
			r.mistake(state.At, `servicenow.states takes values of the field state, such as "-1" for Implement`)
		}
		c.States = append(c.States, state.Value)
	}
	if len(c.States) == 0 {
		c.States = []string{implement}
	}
	return c
}
