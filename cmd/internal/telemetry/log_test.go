package telemetry_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/telemetry"
)

func TestJSONIsTheFormatAwayFromATerminal(t *testing.T) {
	t.Parallel()
	for _, format := range []string{telemetry.Auto, telemetry.JSON} {
		var b bytes.Buffer
		logger, err := telemetry.NewLogger(&b, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		logger.Debug("left out")
		logger.Info("plan applied", "changes", 3, "since", time.Unix(0, 0).In(time.FixedZone("x", 3600)))
		var line struct {
			Time, Since time.Time
			Level, Msg  string
			Changes     int
		}
		if err := json.Unmarshal(b.Bytes(), &line); err != nil {
			t.Fatalf("%s: %q: %v", format, b.String(), err)
		}
		if line.Msg != "plan applied" || line.Changes != 3 || line.Level != "INFO" || !strings.Contains(b.String(), "1970-01-01T00:00:00Z") {
			t.Errorf("%s: %s", format, b.String())
		}
	}
}

func TestTextHasNoColoursAwayFromATerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	logger, err := telemetry.NewLogger(&b, "DEBUG", telemetry.Text)
	if err != nil {
		t.Fatal(err)
	}
	logger.Debug("plan applied", "changes", 3)
	if got := b.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, `msg="plan applied" changes=3`) {
		t.Errorf("text log = %q", got)
	}
}

func TestNewLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]string{{"chatty", "json"}, {"info", "xml"}, {"", "json"}} {
		if _, err := telemetry.NewLogger(&bytes.Buffer{}, tc[0], tc[1]); err == nil {
			t.Errorf("NewLogger(%q, %q) gave no error", tc[0], tc[1])
		}
	}
}
