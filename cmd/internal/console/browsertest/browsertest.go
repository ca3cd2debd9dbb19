// Package browsertest is a real browser for tests: Chromium without a window, which complains of what a page does wrong. It
// holds every page that it shows against axe's rules for accessibility, wants nothing wider than the window, no script that
// fails and nothing that the Content-Security-Policy forbids.
package browsertest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe.min.js
var axe string

// patience bounds one step. It is for machines that do other things, too.
const patience = 60 * time.Second

// Widths are the windows that pages are looked at in: a desk and a telephone, in pixels.
var Widths = []int64{1280, 390}

// Browser is a window of Chromium. It is not safe for concurrent use.
type Browser struct {
	testing.TB
	ctx   context.Context //nolint:containedctx // chromedp keeps the browser in it
	base  string
	shots string // where screenshots go, "" for nowhere

	mu         sync.Mutex
	complaints []string
}

// New opens a window for the site at base until the test ends. Without a Chromium the test is skipped, and fails where CI is
// set. Screenshots go to the directory that IDPSYNC_SCREENSHOTS names.
func New(t testing.TB, base string) *Browser {
	t.Helper()
	program, err := find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, // it opens pages of ours only, also as root
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("font-render-hinting", "none"),
	)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	b := &Browser{TB: t, ctx: ctx, base: base, shots: os.Getenv("IDPSYNC_SCREENSHOTS")}
	if b.shots != "" {
		if err := os.MkdirAll(b.shots, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chromedp.ListenTarget(ctx, b.listen)
	// The browser lives as long as the context of its first step does: that has no bound of its own.
	if err := chromedp.Run(ctx, chromedp.EmulateViewport(Widths[0], 900)); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	t.Cleanup(func() { // before the window is closed
		for _, c := range b.taken() {
			t.Error(c)
		}
	})
	return b
}

func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errors.New("there is no Chromium: install it, on Debian with apt-get install chromium")
}

// listen notes what the browser complains of.
func (b *Browser) listen(event any) {
	switch e := event.(type) {
	case *log.EventEntryAdded:
		// That a page was refused, or does not exist, is for the test to want or not.
		if e.Entry.Level == log.LevelError && !strings.HasPrefix(e.Entry.Text, "Failed to load resource: the server responded with a status of 4") {
			b.complain("the browser says: %s %s", e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		b.complain("a script failed: %s", e.ExceptionDetails.Error())
	case *page.EventJavascriptDialogOpening:
		b.complain("a page asks in a dialogue: %s", e.Message)
	}
}

func (b *Browser) complain(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, fmt.Sprintf(format, args...))
}

func (b *Browser) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.complaints
	b.complaints = nil
	return taken
}

// do carries out what is named, or ends the test with a picture of what there was instead.
func (b *Browser) do(what string, actions ...chromedp.Action) {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var shot []byte
		var text, at string
		late, stopLate := context.WithTimeout(b.ctx, patience)
		defer stopLate()
		_ = chromedp.Run(late, chromedp.Location(&at), chromedp.Evaluate(`document.body.innerText`, &text), chromedp.CaptureScreenshot(&shot)) // as far as it goes
		if b.shots != "" && shot != nil {
			_ = os.WriteFile(filepath.Join(b.shots, "failed.png"), shot, 0o600)
		}
		b.Fatalf("%s: %v, at %s:\n%s", what, err, at, text)
	}
}

// Visit opens a page of the site, and waits for it to be there.
func (b *Browser) Visit(path string) {
	b.Helper()
	b.do("visit "+path, chromedp.Navigate(b.base+path), chromedp.WaitVisible("main h1"))
}

// Type writes into the field with a label, in place of what it holds.
func (b *Browser) Type(label, text string) {
	b.Helper()
	field := b.field(label)
	b.do("type into "+label, chromedp.WaitVisible(field, chromedp.BySearch), b.set(field, ""), chromedp.SendKeys(field, text, chromedp.BySearch))
}

// Choose takes a value in the list with a label.
func (b *Browser) Choose(label, value string) {
	b.Helper()
	field := b.field(label)
	b.do("choose in "+label, chromedp.WaitVisible(field, chromedp.BySearch), b.set(field, value))
}

// set gives the field at a path a value, as a person does: the page is told.
func (b *Browser) set(path, value string) chromedp.Action {
	return chromedp.Evaluate(fmt.Sprintf(`(() => {
		const field = document.evaluate(%s, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue;
		field.focus(); field.value = %[2]s;
		if (field.value !== %[2]s) throw new Error("the field takes no " + %[2]s);
		for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, {bubbles: true}));
	})()`, quoted(path), quoted(value)), nil)
}

func (b *Browser) field(label string) string {
	return fmt.Sprintf(`//*[@id = //label[normalize-space(.) = %[1]s]/@for] | //label[normalize-space(.) = %[1]s]//input | //*[@aria-label = %[1]s]`, literal(label))
}

// Press presses the button, link or summary that reads so, within the page's main part, and waits until what it leads to
// is there. The text is what a screen reader says, hidden words included.
func (b *Browser) Press(text string) {
	b.Helper()
	b.press("press "+text, fmt.Sprintf(`//main//*[self::button or self::a or self::summary][normalize-space(.) = %s]`, literal(text)))
}

// PressIn is Press within the part of a page that the CSS class or id of an element names, for example "#live-run".
func (b *Browser) PressIn(selector, text string) {
	b.Helper()
	where := fmt.Sprintf(`[contains(concat(' ', normalize-space(@class), ' '), ' %s ')]`, strings.TrimPrefix(selector, "."))
	if id, ok := strings.CutPrefix(selector, "#"); ok {
		where = fmt.Sprintf(`[@id = '%s']`, id)
	}
	b.press("press "+text+" in "+selector, fmt.Sprintf(`//*%s//*[self::button or self::a or self::summary][normalize-space(.) = %s]`, where, literal(text)))
}

func (b *Browser) press(what, path string) {
	b.Helper()
	b.do(what, chromedp.WaitVisible(path, chromedp.BySearch), chromedp.ScrollIntoView(path, chromedp.BySearch), chromedp.Click(path, chromedp.BySearch))
}

// Key presses keys one after the other, for example kb.Tab.
func (b *Browser) Key(keys ...string) {
	b.Helper()
	for _, key := range keys {
		b.do("press a key", chromedp.KeyEvent(key))
	}
}

// Wait waits until the page's main part says something, also when it takes other pages to get there.
func (b *Browser) Wait(text string) {
	b.Helper()
	said := fmt.Sprintf(`document.readyState === "complete" && document.querySelector("main") !== null && document.querySelector("main").innerText.replace(/\s+/g, " ").includes(%s)`, quoted(text))
	b.do("wait for "+text, chromedp.ActionFunc(func(ctx context.Context) error {
		for {
			var yes bool
			// A page that is left in the midst of the question does not answer: its successor is asked.
			if err := chromedp.Evaluate(said, &yes).Do(ctx); ctx.Err() != nil {
				return ctx.Err()
			} else if err == nil && yes {
				return nil
			}
			if err := chromedp.Sleep(50 * time.Millisecond).Do(ctx); err != nil {
				return err
			}
		}
	}))
}

// Text returns what the page's main part says, with blanks for any space.
func (b *Browser) Text() string {
	b.Helper()
	var text string
	b.do("read", chromedp.Evaluate(`document.querySelector("main").innerText`, &text))
	return strings.Join(strings.Fields(text), " ")
}

// Evaluate returns what a script comes to.
func (b *Browser) Evaluate(script string, out any) {
	b.Helper()
	b.do("evaluate", chromedp.Evaluate(script, out))
}

// Focused returns what the element says that has the focus.
func (b *Browser) Focused() string {
	b.Helper()
	var text string
	b.Evaluate(`document.activeElement.textContent.trim()`, &text)
	return text
}

// Location returns the path and query of the page.
func (b *Browser) Location() string {
	b.Helper()
	var at string
	b.do("see where this is", chromedp.Location(&at))
	return strings.TrimPrefix(at, b.base)
}

// Look looks at the page in every width: it takes screenshots under the name, and complains of what is wrong.
func (b *Browser) Look(name string) {
	b.Helper()
	b.looks(name, "light")
}

// LookBoth is Look in light and in dark.
func (b *Browser) LookBoth(name string) {
	b.Helper()
	b.looks(name, "light", "dark")
}

func (b *Browser) looks(name string, schemes ...string) {
	b.Helper()
	for _, scheme := range schemes {
		for _, width := range Widths {
			b.look(name, scheme, width)
		}
	}
	b.do("go back to the desk", colours("light"), chromedp.EmulateViewport(Widths[0], 900))
	for _, c := range b.taken() {
		b.Errorf("%s: %s", name, c)
	}
}

func colours(scheme string) chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	})
}

func (b *Browser) look(name, scheme string, width int64) {
	b.Helper()
	var wide bool
	b.do("look at "+name, colours(scheme), chromedp.EmulateViewport(width, 900),
		chromedp.Evaluate(`document.documentElement.scrollWidth > window.innerWidth`, &wide))
	if wide {
		b.complain("at %d pixels the page is wider than the window", width)
	}
	if b.shots != "" {
		b.picture(filepath.Join(b.shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)))
	}
	for _, v := range b.violations() {
		b.complain("at %d pixels in %s: %s", width, scheme, v)
	}
}

// picture writes the whole page into a file. Chromium now and then never comes to draw the frame that it was asked for; it
// does when it is asked again.
func (b *Browser) picture(file string) {
	b.Helper()
	for try := 1; ; try++ {
		var shot []byte
		ctx, stop := context.WithTimeout(b.ctx, patience/4)
		err := chromedp.Run(ctx, page.BringToFront(), chromedp.FullScreenshot(&shot, 100))
		stop()
		if err == nil {
			if err := os.WriteFile(file, shot, 0o644); err != nil { //nolint:gosec // for everybody to look at
				b.Fatal(err)
			}
			return
		}
		if try == 4 {
			b.Fatalf("take a picture, %s: %v", filepath.Base(file), err)
		}
	}
}

// violations returns what axe finds on the page.
func (b *Browser) violations() []string {
	b.Helper()
	var found string
	await := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	b.do("ask axe", chromedp.ActionFunc(func(ctx context.Context) error {
		var missing bool
		if err := chromedp.Evaluate(`typeof axe === "undefined"`, &missing).Do(ctx); err != nil || !missing {
			return err
		}
		return chromedp.Evaluate(axe+";0", nil).Do(ctx)
	}), chromedp.Evaluate(`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v =>
		v.id + " (" + v.impact + "): " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(" | "))))`, &found, await))
	var list []string
	if err := json.Unmarshal([]byte(found), &list); err != nil {
		b.Fatal(err)
	}
	return list
}

// literal writes a text as XPath does; there is no escaping, so a text with both kinds of quotes is put together.
func literal(text string) string {
	if !strings.Contains(text, "'") {
		return "'" + text + "'"
	}
	return "concat('" + strings.ReplaceAll(text, "'", `', "'", '`) + "')"
}

func quoted(text string) string {
	b, _ := json.Marshal(text) // a string always can be
	return string(b)
}
