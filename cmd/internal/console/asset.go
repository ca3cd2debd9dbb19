package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed asset
var assetFiles embed.FS

const assetPath = "/assets/"

// assets serves what pages are made of, at addresses that change with the content: browsers keep them for good.
type assets struct {
	files map[string][]byte // by the rest of the path
	urls  map[string]string // by name
}

func readAssets() (*assets, error) {
	a := &assets{map[string][]byte{}, map[string]string{}}
	entries, err := assetFiles.ReadDir("asset")
	if err != nil {
		return nil, fmt.Errorf("read the assets: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		text, err := assetFiles.ReadFile("asset/" + name)
		if err != nil {
			return nil, fmt.Errorf("read the assets: %w", err)
		}
		sum := sha256.Sum256(text)
		at := hex.EncodeToString(sum[:6]) + "/" + name
		a.files[at], a.urls[name] = text, assetPath+at
	}
	return a, nil
}

// url returns where an asset is; "" where there is none of that name.
func (a *assets) url(name string) string { return a.urls[name] }

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, ok := a.files[strings.TrimPrefix(r.URL.Path, assetPath)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	kind := mime.TypeByExtension(path.Ext(r.URL.Path))
	switch path.Ext(r.URL.Path) { // some systems know others
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case ".svg":
		kind = "image/svg+xml"
	case ".LICENSE":
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(text) // the browser may be gone
}
