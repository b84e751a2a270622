package sandbox

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every example of README.md is a call that works, and is made here.
func TestEveryExampleOfTheControlAPIWorks(t *testing.T) {
	p := newPlayer(t)
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(string(text), -1)
	if len(examples) < 20 {
		t.Fatalf("only %d examples were found", len(examples))
	}
	for _, example := range examples {
		method, address, body := parseCurl(t, strings.ReplaceAll(example, "$SANDBOX", p.url))
		request, err := http.NewRequest(method, address, strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		var answer any
		if status := p.do(request, &answer); status != http.StatusOK {
			t.Errorf("%s\nanswered %d: %v", example, status, answer)
		}
	}
}

// parseCurl reads the few options of curl that the examples use.
func parseCurl(t *testing.T, line string) (method, address, body string) {
	t.Helper()
	words := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(line, -1)
	method = http.MethodGet
	for i := 1; i < len(words); i++ {
		word := strings.Trim(words[i], `'"`)
		switch {
		case word == "--fail":
		case word == "-X" && i+1 < len(words):
			i++
			method = words[i]
		case word == "-d" && i+1 < len(words):
			i++
			body = strings.Trim(words[i], `'`)
			if method == http.MethodGet {
				method = http.MethodPost
			}
		case strings.HasPrefix(word, "http"):
			address = word
		default:
			t.Fatalf("%s: what is %s?", line, word)
		}
	}
	return method, address, body
}
