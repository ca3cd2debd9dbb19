package app

import (
	"runtime/debug"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// version is set when a release is built: -ldflags "-X github.com/idpsync/idpsync/cmd/internal/app.version=1.2.3".
var version = "devel"

// Program tells which program this is.
func Program() api.Program {
	p := api.Program{Version: version}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				p.Revision = s.Value
			}
		}
	}
	return p
}
