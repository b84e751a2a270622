package mcp

import (
	"fmt"
	"strings"
)

// tool is one tool of a server, over a list of things that it can find.
type tool struct {
	name        string
	description string
	noun        string // what it finds, in the plural
	things      []string
}

// input is what every tool takes.
type input struct {
	Query string `json:"query,omitempty" jsonschema:"words to look for; empty finds everything"`
}

// answer lists the things that have the query in them.
func (t tool) answer(in input) string {
	var found []string
	for _, thing := range t.things {
		if strings.Contains(strings.ToLower(thing), strings.ToLower(in.Query)) {
			found = append(found, "- "+thing)
		}
	}
	if len(found) == 0 {
		return fmt.Sprintf("No %s found for %q.", t.noun, in.Query)
	}
	return fmt.Sprintf("%d %s found:\n%s", len(found), t.noun, strings.Join(found, "\n"))
}

// catalogue returns the tools that suit a server's name. A server of another
// name gets one plain search.
func catalogue(server string) []tool {
	switch server {
	case "sharepoint":
		return []tool{
			{"search_documents", "Searches documents on all sites", "documents", []string{"Onboarding guide.docx", "Travel policy 2026.pdf", "Platform roadmap.pptx"}},
			{"list_sites", "Lists the sites that can be read", "sites", []string{"Engineering", "People and culture", "Finance"}},
		}
	case "github":
		return []tool{
			{"search_repositories", "Searches repositories of the organisation", "repositories", []string{"platform/connectors", "platform/infrastructure", "apps/intranet"}},
			{"list_pull_requests", "Lists open pull requests", "pull requests", []string{"platform/connectors#412 Renew certificates earlier", "apps/intranet#88 Dark mode"}},
		}
	case "jira":
		return []tool{
			{"search_issues", "Searches issues by their words", "issues", []string{"OPS-101 Rotate client secrets", "OPS-117 Upgrade the cluster", "WEB-9 Broken link on the start page"}},
			{"list_projects", "Lists projects", "projects", []string{"OPS Operations", "WEB Website"}},
		}
	case "confluence":
		return []tool{
			{"search_pages", "Searches pages in all spaces", "pages", []string{"Runbook: rotate a client secret", "Architecture of the platform", "Who is on call"}},
			{"list_spaces", "Lists spaces", "spaces", []string{"OPS", "ENG"}},
		}
	}
	return []tool{{"search", "Searches what " + server + " holds", "entries", []string{server + " home", server + " archive"}}}
}
