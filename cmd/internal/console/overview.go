package console

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/console/chart"
)

// overviewPage is the first page: how every connector fares.
type overviewPage struct {
	Connectors []connectorCard
	People     int
	Groups     int
	SCIM       api.SCIMSetting
	Tasks      []task // what waits for somebody
}

// connectorCard is a connector with its last runs.
type connectorCard struct {
	api.Connector
	Health  string
	Running *api.Run
	Last    *api.Run // of those that ended
	Chart   driftChart
}

// driftChart is the drift that runs found, over time.
type driftChart struct {
	SVG    template.HTML
	Most   int
	From   time.Time
	Runs   []api.Run // the newest first
	Series []chart.Series
}

// task is something that waits for a person.
type task struct {
	Tone, Text, Href, Link string
}

// chartRuns is how many runs a chart shows.
const chartRuns = 48

// chartSlots is how many columns have place at least.
const chartSlots = 24

var driftSeries = []chart.Series{{Name: "repaired", Class: "fill-good"}, {Name: "held", Class: "fill-warn"}, {Name: "left", Class: "fill-bad"}}

func (c *Console) overview(q *request) (*view, error) {
	connectors, err := fetch[api.Page[api.Connector]](q, "/connectors", nil)
	if err != nil {
		return nil, err
	}
	page := overviewPage{}
	going := false
	for i := range connectors.Items {
		card, err := c.card(q, &connectors.Items[i])
		if err != nil {
			return nil, err
		}
		going = going || card.Running != nil
		page.Connectors = append(page.Connectors, card)
	}
	if page.SCIM, err = fetch[api.SCIMSetting](q, "/settings/scim", nil); err != nil {
		return nil, err
	}
	if page.People, err = total[api.User](q, "/users"); err != nil {
		return nil, err
	}
	if page.Groups, err = total[api.Group](q, "/groups"); err != nil {
		return nil, err
	}
	page.Tasks = tasksOf(&page)
	return &view{Page: "overview", Title: "Overview", Section: "/", Refresh: going, Data: page}, nil
}

// total returns how long a list is that tells so.
func total[T any](q *request, path string) (int, error) {
	page, err := fetch[api.Page[T]](q, path, url.Values{"limit": {"1"}})
	if err != nil || page.Total == nil {
		return 0, err
	}
	return *page.Total, nil
}

// card returns what the overview shows of a connector.
func (c *Console) card(q *request, held *api.Connector) (connectorCard, error) {
	card := connectorCard{Connector: *held}
	runs, err := fetch[api.Page[api.Run]](q, "/runs", url.Values{"connector": {held.Name}, "limit": {strconv.Itoa(chartRuns)}})
	if err != nil {
		return card, err
	}
	for i := range runs.Items {
		run := &runs.Items[i]
		switch {
		case run.RunID == held.Running:
			card.Running = run
		case run.Finished != nil && run.Kind != "object" && card.Last == nil:
			card.Last = run
		}
	}
	card.Health = healthOf(held, card.Last)
	card.Chart = driftOf(runs.Items)
	return card, nil
}

// driftOf draws the drift that runs found. Runs of one person, and those that could not look, say nothing about it.
func driftOf(runs []api.Run) driftChart {
	out := driftChart{Series: driftSeries}
	for i := range runs {
		if run := &runs[i]; run.Finished != nil && run.Kind != "object" && run.Status != "failed" {
			out.Runs = append(out.Runs, *run)
		}
	}
	if len(out.Runs) == 0 {
		return out
	}
	var bars []chart.Bar
	for i := range slices.Backward(out.Runs) {
		run := &out.Runs[i]
		left := max(leftOf(run)-run.Counts.Held, 0)
		bars = append(bars, chart.Bar{
			Label:  fmt.Sprintf("%s: %s found, %d repaired, %d held, %d left", instant(run.Started), plural(foundOf(run), "difference"), run.Counts.Applied, run.Counts.Held, left),
			Values: []int{run.Counts.Applied, run.Counts.Held, left},
		})
	}
	newest := &out.Runs[0]
	summary := fmt.Sprintf("Differences found by the last %s; the newest, of %s, found %d and left %d", plural(len(out.Runs), "run"), instant(newest.Started), foundOf(newest), leftOf(newest))
	out.SVG = chart.Stacked(summary, max(chartSlots, len(bars)), driftSeries, bars)
	out.Most, out.From = chart.Most(bars), out.Runs[len(out.Runs)-1].Started
	return out
}

// tasksOf returns what waits for a person, the worst first.
func tasksOf(page *overviewPage) []task {
	var tasks []task
	add := func(tone, href, link, format string, args ...any) {
		tasks = append(tasks, task{tone, fmt.Sprintf(format, args...), href, link})
	}
	for i := range page.Connectors {
		c := &page.Connectors[i]
		if c.Health == healthQuarantined {
			add("bad", "/settings/connectors", "Check it", "%s: the identity provider rejects the credential. Nothing is pulled until it is mended.", c.Name)
		}
	}
	for i := range page.Connectors {
		c := &page.Connectors[i]
		if c.Held != "" {
			add("warn", "/runs/"+c.Held, "Review", "%s: the guard held removals. They wait for a decision.", c.Name)
		}
		if c.Conflicts > 0 {
			add("warn", "/conflicts", "Decide", "%s: %s for a decision.", c.Name, plural(c.Conflicts, "conflict waits", "conflicts wait"))
		}
	}
	if !page.SCIM.BreakGlass {
		add("warn", "/settings", "How", "Nobody could get in if the identity provider were gone: there is no active local admin.")
	}
	return tasks
}
