package main

import (
	_ "embed"
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/twokey/twokey/sandbox"
)

// manifest is the Slack app that the bot runs as.
//
//go:embed manifest.yml
var manifest []byte

// sandboxApp tells the sandbox's page what Slack's clients know from the manifest.
func sandboxApp() (sandbox.App, error) {
	var m struct {
		Features struct {
			AppHome struct {
				HomeTab bool `yaml:"home_tab_enabled"`
			} `yaml:"app_home"`
			SlashCommands []struct {
				Command     string `yaml:"command"`
				Description string `yaml:"description"`
				Usage       string `yaml:"usage_hint"`
			} `yaml:"slash_commands"`
			Shortcuts []struct {
				Name        string `yaml:"name"`
				Description string `yaml:"description"`
				Callback    string `yaml:"callback_id"`
				Type        string `yaml:"type"`
			} `yaml:"shortcuts"`
		} `yaml:"features"`
		OAuth oauthConfig `yaml:"oauth_config"`
	}
	if err := yaml.Unmarshal(manifest, &m); err != nil {
		return sandbox.App{}, fmt.Errorf("read the manifest: %w", err)
	}
	app := sandbox.App{Commands: []sandbox.Command{}, Shortcuts: []sandbox.Shortcut{}, HomeTab: m.Features.AppHome.HomeTab, Scopes: m.OAuth.Scopes.Bot}
	for _, c := range m.Features.SlashCommands {
		app.Commands = append(app.Commands, sandbox.Command{Command: c.Command, Description: c.Description, Usage: c.Usage})
	}
	for _, s := range m.Features.Shortcuts {
		app.Shortcuts = append(app.Shortcuts, sandbox.Shortcut{Name: s.Name, Description: s.Description, Callback: s.Callback, Message: s.Type == "message"})
	}
	return app, nil
}

// oauthConfig is the manifest's section of that name.
type oauthConfig struct {
	Scopes struct {
		Bot []string `yaml:"bot"`
	} `yaml:"scopes"`
}

// manifestScopes are the scopes that the manifest asks for.
func manifestScopes() ([]string, error) {
	var m struct {
		OAuth oauthConfig `yaml:"oauth_config"`
	}
	if err := yaml.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return m.OAuth.Scopes.Bot, nil
}
