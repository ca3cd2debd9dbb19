package console

import "html/template"

// icon returns a drawing that says nothing to a screen reader: a word always stands beside it.
func icon(name string) template.HTML {
	shape, ok := shapes[name]
	if !ok {
		shape = shapes["dot"]
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">` + shape + `</svg>`) //nolint:gosec // constants
}

// shapes are drawn in lines 1.5 wide on a square of 16.
var shapes = map[string]string{
	"overview": `<path d="M2.5 2.5h4.5v4.5h-4.5zM9 2.5h4.5v4.5h-4.5zM2.5 9h4.5v4.5h-4.5zM9 9h4.5v4.5h-4.5z"/>`,
	"run":      `<path d="M13.5 8a5.5 5.5 0 1 1-1.6-3.9"/><path d="M13.5 1.8v2.9h-2.9"/>`,
	"person":   `<circle cx="8" cy="5.2" r="2.7"/><path d="M2.8 13.8c.5-2.8 2.6-4.3 5.2-4.3s4.7 1.5 5.2 4.3"/>`,
	"group":    `<circle cx="6" cy="5.5" r="2.3"/><path d="M1.5 13.3c.4-2.5 2.2-3.8 4.5-3.8s4.1 1.3 4.5 3.8"/><path d="M10.6 3.4a2.3 2.3 0 0 1 0 4.3M12 9.8c1.4.5 2.3 1.7 2.5 3.5"/>`,
	"mapping":  `<circle cx="3.5" cy="3.5" r="1.7"/><circle cx="3.5" cy="12.5" r="1.7"/><circle cx="12.5" cy="8" r="1.7"/><path d="M5.2 3.5c3 0 2.6 4.5 5.6 4.5M5.2 12.5c3 0 2.6-4.5 5.6-4.5"/>`,
	"conflict": `<path d="M8 2.2 14.3 13.5H1.7z"/><path d="M8 6.5v3.2M8 11.6v.1"/>`,
	"audit":    `<path d="M3.5 1.8h6.5l2.5 2.5v9.9h-9z"/><path d="M5.5 7h5M5.5 9.5h5M5.5 12h3"/>`,
	"settings": `<path d="M2 4.5h6.5M12 4.5h2M2 11.5h2M7.5 11.5h6.5"/><circle cx="10.2" cy="4.5" r="1.7"/><circle cx="5.7" cy="11.5" r="1.7"/>`,
	"check":    `<path d="m3 8.5 3.2 3.2 6.8-7"/>`,
	"cross":    `<path d="m3.8 3.8 8.4 8.4M12.2 3.8l-8.4 8.4"/>`,
	"pause":    `<path d="M5.5 3v10M10.5 3v10"/>`,
	"clock":    `<circle cx="8" cy="8" r="5.8"/><path d="M8 4.6v3.7l2.4 1.5"/>`,
	"warning":  `<path d="M8 2.2 14.3 13.5H1.7z"/><path d="M8 6.5v3.2M8 11.6v.1"/>`,
	"info":     `<circle cx="8" cy="8" r="5.8"/><path d="M8 7.3v3.7M8 4.9v.1"/>`,
	"plus":     `<path d="M8 3v10M3 8h10"/>`,
	"minus":    `<path d="M3 8h10"/>`,
	"change":   `<path d="M2.5 9.5c1.5-3.5 3.5-3.5 5.5-1.5s4 2 5.5-1.5"/>`,
	"search":   `<circle cx="7" cy="7" r="4.3"/><path d="m10.3 10.3 3.7 3.7"/>`,
	"key":      `<circle cx="5" cy="11" r="2.8"/><path d="m7 9 6-6M11 5l1.8 1.8"/>`,
	"out":      `<path d="M6.5 2.5h-4v11h4M6.5 8h7M10.8 5.3 13.5 8l-2.7 2.7"/>`,
	"menu":     `<path d="M2 4h12M2 8h12M2 12h12"/>`,
	"dot":      `<circle cx="8" cy="8" r="2.5"/>`,
}
