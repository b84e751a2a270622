// Package page is the sandbox's page: a chat that looks like the one the bot lives
// in, the infrastructure beside it, and the buttons that break things. It is built
// from src/ with Vite; what was built is embedded, so that Go alone serves it.
package page

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
)

//go:embed dist
var built embed.FS

// policy lets the page load and call nothing but the sandbox itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at "/". It calls the sandbox's control API on the same
// address.
func Handler() http.Handler {
	files, err := fs.Sub(built, "dist")
	if err != nil {
		panic(fmt.Sprintf("page: %v", err)) // the name is the embedded folder's
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache") // the next sandbox on this port may have another page
		server.ServeHTTP(w, r)
	})
}
