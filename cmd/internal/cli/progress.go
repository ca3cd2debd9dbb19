package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/idpsync/idpsync/reconcile"
)

// bar shows how far a run has come, on a terminal only.
type bar struct {
	name  string
	bar   *progressbar.ProgressBar
	phase string
}

func newBar(w io.Writer, name string) *bar {
	b := &bar{name: name}
	if isTerminal(w) {
		b.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(w), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetDescription(name), progressbar.OptionSetWidth(24), progressbar.OptionThrottle(80*time.Millisecond),
			progressbar.OptionSpinnerType(14))
	}
	return b
}

func (b *bar) update(p reconcile.Progress) {
	if b.bar == nil {
		return
	}
	if p.Phase != b.phase {
		b.phase = p.Phase
		b.bar.Reset()
		b.bar.ChangeMax(-1)
	}
	if p.Total > 0 {
		b.bar.ChangeMax(p.Total)
		b.bar.Describe(fmt.Sprintf("%s: %s  %d of %d", b.name, p.Phase, p.Done, p.Total))
		_ = b.bar.Set(p.Done)
		return
	}
	b.bar.Describe(fmt.Sprintf("%s: %s  %s, %s, %s", b.name, p.Phase,
		plural(p.Users, "user"), plural(p.Groups, "group"), plural(p.Members, "membership")))
	_ = b.bar.Set(p.Users + p.Groups + p.Members)
}

func (b *bar) done() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
}
