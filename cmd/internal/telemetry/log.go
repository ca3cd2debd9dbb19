// Package telemetry makes the program's logger, its traces, and what lists its metrics. They are handed to who needs them;
// there is no global one.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// Formats of the log.
const (
	Auto = "auto" // Text on a terminal, JSON elsewhere
	Text = "text" // coloured on a terminal, key=value elsewhere
	JSON = "json"
)

// NewLogger returns a logger that writes to w. Level is debug, info, warn or error; format is Auto, Text or JSON. The
// environment variable NO_COLOR, set to anything, takes the colours away (no-color.org). A line that is logged with the
// context of a request, a run or a span tells their ids.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	terminal := isTerminal(w)
	switch {
	case format == Auto && terminal, format == Text && terminal:
		return slog.New(contextHandler{tint.NewTextHandler(w, &tint.Options{
			Level: least, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != "",
		})}), nil
	case format == Auto, format == JSON:
		return slog.New(contextHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: inUTC})}), nil
	case format == Text:
		return slog.New(contextHandler{slog.NewTextHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: inUTC})}), nil
	}
	return nil, fmt.Errorf("log format %q: want auto, text or json", format)
}

// inUTC prints times in UTC, as everything that leaves the program does.
func inUTC(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindTime {
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
