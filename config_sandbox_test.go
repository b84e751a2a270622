package main

import (
	"testing"

	"github.com/twokey/twokey/sandbox"
)

func TestTheSandboxWritesAConfigurationWithoutAMistake(t *testing.T) {
	s, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path, err := s.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path, func(string) string { return "" }) // it must not depend on the environment
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 8 || c.Slack.AppToken.IsZero() || c.AWS.EndpointURL != s.URL()+"/aws" || c.Entra.GraphURL != s.EntraURL() {
		t.Errorf("%d secrets, %+v", len(c.Targets), c)
	}
}
