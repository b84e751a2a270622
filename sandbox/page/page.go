// Package page is the sandbox's page: a chat that looks like the one the bot lives
// in, the infrastructure beside it, and the buttons that break things. It is built
// from src/ with Vite; what was built is embedded, so that Go alone serves it.
package page

import (
	"cmp"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
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
		name := strings.TrimPrefix(r.URL.Path, "/")
		if f, err := files.Open(name + compressed); err == nil {
			defer func() { _ = f.Close() }() // it is in memory
			serveCompressed(w, r, name, f)
			return
		}
		server.ServeHTTP(w, r)
	})
}

// compressed is the ending of what is embedded compressed: all but index.html.
const compressed = ".gz"

// serveCompressed sends a file as it is embedded, or to the few clients that cannot
// read that, unpacked.
func serveCompressed(w http.ResponseWriter, r *http.Request, name string, f io.Reader) {
	w.Header().Set("Content-Type", cmp.Or(mime.TypeByExtension(path.Ext(name)), "text/plain; charset=utf-8"))
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.Copy(w, f) // whoever hangs up needs no answer
		return
	}
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		http.Error(w, "the embedded file cannot be unpacked", http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(w, unpacked) // as above
}
