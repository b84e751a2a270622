package main

import (
	"encoding/json"
	"errors"
	"io"
)

// checkedConfig is what "config check --json" prints. It holds no secret.
type checkedConfig struct {
	Valid    bool            `json:"valid"`
	Mistakes []configMistake `json:"mistakes"`
	Secrets  []checkedSecret `json:"secrets"`
}

type configMistake struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
}

type checkedSecret struct {
	Name                  string `json:"name"`
	ClientIDParameter     string `json:"client_id_parameter"`
	ClientSecretParameter string `json:"client_secret_parameter"`
	Cluster               string `json:"cluster"`
	Service               string `json:"service"`
	Approvers             string `json:"approvers"`
	LifetimeMonths        int    `json:"lifetime_months"`
}

// writeConfigJSON prints the configuration's secrets, or its mistakes. Any other
// error is returned as it is, and nothing is printed.
func writeConfigJSON(w io.Writer, cfg *Config, err error) error {
	out := checkedConfig{Valid: err == nil, Mistakes: []configMistake{}, Secrets: []checkedSecret{}}
	wrong, is := errors.AsType[*Mistakes](err)
	switch {
	case is:
		for _, m := range wrong.List {
			out.Mistakes = append(out.Mistakes, configMistake{m.At.Line, m.At.Column, m.Text})
		}
	case err != nil:
		return err
	default:
		for _, t := range cfg.Targets {
			out.Secrets = append(out.Secrets, checkedSecret{string(t.Name), t.ClientIDParameter, t.SecretParameter, t.Cluster, t.Service, string(t.Policy.Approvers), t.LifetimeMonths})
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return errors.Join(e.Encode(out), err)
}
