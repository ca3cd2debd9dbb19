package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/console/chart"
)

var series = []chart.Series{{Name: "repaired", Class: "fill-good"}, {Name: "left", Class: "fill-bad"}}

// tags returns how often each element occurs, and the texts, of what has to be well-formed.
func tags(t *testing.T, svg string) (map[string]int, []string) {
	t.Helper()
	found, texts := map[string]int{}, []string{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found, texts
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			found[e.Name.Local]++
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					found["."+a.Value]++
				}
			}
		case xml.CharData:
			texts = append(texts, string(e))
		}
	}
}

func TestStacked(t *testing.T) {
	t.Parallel()
	svg := string(chart.Stacked(`"drift" <of> okta`, 4, series, []chart.Bar{
		{Label: "oldest", Values: []int{9, 9}}, {Label: "a", Values: []int{10, 0}}, {Label: "b <script>", Values: []int{1, 1}}, {Label: "c", Values: []int{0, 0}}, {Label: "d", Values: []int{0, 3}},
	}))
	found, texts := tags(t, svg)
	if found["title"] != 4 || found[".fill-good"] != 2 || found[".fill-bad"] != 2 || found[".chart-zero"] != 1 {
		t.Errorf("drew %v, want four bars of which one is zero:\n%s", found, svg)
	}
	if got := strings.Join(texts, "|"); got != "a|b <script>|c|d" {
		t.Errorf("says %q, want the newest four", got)
	}
	if strings.Contains(svg, "<script") || strings.Contains(svg, " style=") {
		t.Errorf("has markup of others, or a style that the policy forbids:\n%s", svg)
	}
}

// TestStacked_Small: next to a great value a small one is still to be seen, and nothing leaves the drawing.
func TestStacked_Small(t *testing.T) {
	t.Parallel()
	svg := string(chart.Stacked("", 2, series, []chart.Bar{{Label: "a", Values: []int{100_000, 1}}, {Label: "b", Values: []int{1, -5}}}))
	found, _ := tags(t, svg)
	if found[".fill-good"] != 2 || found[".fill-bad"] != 1 {
		t.Errorf("drew %v, want every value above zero:\n%s", found, svg)
	}
	if strings.Contains(svg, `="-`) {
		t.Errorf("draws outside:\n%s", svg)
	}
}

func TestMost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		bars []chart.Bar
		want int
	}{
		{"nothing", nil, 1}, {"zero", []chart.Bar{{Values: []int{0, 0}}}, 1}, {"sums", []chart.Bar{{Values: []int{2, 3}}, {Values: []int{4}}}, 5},
	} {
		if got := chart.Most(tc.bars); got != tc.want {
			t.Errorf("%s: Most = %d, want %d", tc.name, got, tc.want)
		}
	}
}
