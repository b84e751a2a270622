package checker

import (
	_ "embed" // for the directive
	"strings"
)

//go:embed checker.go
var source string

// Program is checker.go as a program of its own, which needs Go and nothing else.
func Program() string {
	return strings.Replace(source, "\npackage checker\n", "\npackage main\n", 1) + `
func main() {
	verifier := ""
	if len(os.Args) > 1 {
		verifier = os.Args[1]
	}
	os.Exit(Main(".", verifier, os.Stdout))
}
`
}
