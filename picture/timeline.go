// Package picture draws what numbers alone do not show.
package picture

import (
	"fmt"
	"time"

	"github.com/go-analyze/charts"

	"github.com/twokey/twokey/operation"
)

// Measures in pixels. A phone shows the picture at about a third of its size, so the
// smallest letters are as large there as those of the messages around it.
const (
	width     = 1080
	margin    = 36
	nameWidth = 330 // of the rows' names
	top       = 190 // where the rows begin
	rowHeight = 58
	bottom    = 110 // below the rows: the legend
	dot       = 13
	letters   = 22.0 // points
	heading   = 30.0
	maxRows   = 30
	maxName   = 20 // runes
	yearWidth = 80
)

// The picture has a ground of its own, so it looks the same in light and in dark
// mode. The colours are apart for those who see no red and green, too.
func ground() charts.Color  { return charts.ColorFromHex("#F7F8FA") }
func stripe() charts.Color  { return charts.ColorFromHex("#E9ECF1") }
func ink() charts.Color     { return charts.ColorFromHex("#1B1F27") }
func faint() charts.Color   { return charts.ColorFromHex("#5A6270") }
func rule() charts.Color    { return charts.ColorFromHex("#C3C9D3") }
func overdue() charts.Color { return charts.ColorFromHex("#B3001B") }
func soon() charts.Color    { return charts.ColorFromHex("#D9730D") }
func later() charts.Color   { return charts.ColorFromHex("#A17F00") }
func far() charts.Color     { return charts.ColorFromHex("#1F6FB2") }
func style(size float64, c charts.Color) charts.FontStyle {
	return charts.FontStyle{FontSize: size, FontColor: c}
}

// row is one line of the picture.
type row struct {
	operation.Expiring
	unknown bool
}

// Timeline draws when everything in the digest expires, a row each, the most urgent
// first, as a PNG.
func Timeline(d operation.WeeklyDigest, zone *time.Location) ([]byte, error) {
	rows := rowsOf(d)
	more := max(len(rows)-maxRows, 0)
	rows = rows[:len(rows)-more]
	c := canvas{
		p:    charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputPNG, Width: width, Height: top + max(len(rows), 1)*rowHeight + bottom}),
		zone: zone, from: d.At, height: max(len(rows), 1) * rowHeight,
	}
	c.to = time.Date(d.At.In(zone).Year(), d.At.In(zone).Month(), 1, 0, 0, 0, 0, zone).AddDate(0, len(d.Months), 0)
	c.p.FilledRect(0, 0, width, top+c.height+bottom, ground(), ground(), 0)
	c.p.Text("What expires until "+c.to.AddDate(0, 0, -1).Format("January 2006"), margin, 62, 0, style(heading, ink()))
	c.p.Text(d.At.In(zone).Format("2 January 2006")+summary(d, more), margin, 108, 0, style(letters, faint()))
	c.months(len(rows))
	if len(rows) == 0 {
		c.p.Text("Nothing expires in this time.", margin, top+40, 0, style(letters, ink()))
	}
	for n, r := range rows {
		c.row(n, r)
	}
	c.legend()
	return c.p.Bytes()
}

func summary(d operation.WeeklyDigest, more int) string {
	text := fmt.Sprintf(": %d overdue, %d to expire", len(d.Overdue), d.Items())
	if more > 0 {
		text += fmt.Sprintf("; %d of them not shown", more)
	}
	return text
}

func rowsOf(d operation.WeeklyDigest) []row {
	var out []row
	for _, e := range d.Overdue {
		out = append(out, row{Expiring: e})
	}
	for _, e := range d.Unknown {
		out = append(out, row{Expiring: e, unknown: true})
	}
	for _, m := range d.Months {
		for _, e := range m.Items {
			out = append(out, row{Expiring: e})
		}
	}
	return out
}

// canvas is a picture on the way.
type canvas struct {
	p        *charts.Painter
	zone     *time.Location
	from, to time.Time
	height   int // of all rows
}

// x is where an instant is; the left edge is now.
func (c canvas) x(t time.Time) int {
	left, right := margin+nameWidth, width-margin
	if t.Before(c.from) {
		return left
	}
	return left + int(float64(right-left)*t.Sub(c.from).Seconds()/c.to.Sub(c.from).Seconds())
}

// months draws the rows' stripes, and where the months begin.
func (c canvas) months(rows int) {
	for n := 0; n < rows; n += 2 {
		c.p.FilledRect(0, top+n*rowHeight, width, top+(n+1)*rowHeight, stripe(), stripe(), 0)
	}
	at := c.from.In(c.zone)
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, c.zone)
	year := -1000 // where a year was written last
	for m := first.AddDate(0, 1, 0); m.Before(c.to); m = m.AddDate(0, 1, 0) {
		x := c.x(m)
		c.p.LineStroke([]charts.Point{{X: x, Y: top - 8}, {X: x, Y: top + c.height}}, rule(), 2)
		c.p.Text(m.Format("Jan")[:1], x+max((c.x(m.AddDate(0, 1, 0))-x-16)/2, 0), top-16, 0, style(letters, ink()))
		if next := c.x(time.Date(m.Year()+1, 1, 1, 0, 0, 0, 0, c.zone)); x-year > yearWidth && (m.Month() == time.January || next-x > yearWidth && year < 0) {
			year = x
			c.p.Text(m.Format("2006"), x+4, top-48, 0, style(letters, faint()))
		}
	}
	x := c.x(c.from)
	c.p.LineStroke([]charts.Point{{X: x, Y: top - 8}, {X: x, Y: top + c.height}}, ink(), 3)
}

func (c canvas) row(n int, r row) {
	middle := top + n*rowHeight + rowHeight/2
	c.p.Text(shorten(r.Name), margin, middle+10, 0, style(letters, ink()))
	start := c.x(c.from)
	if r.unknown {
		c.p.Text("? nobody knows when", start+24, middle+10, 0, style(letters, overdue()))
		return
	}
	colour := c.colour(r.End)
	x := c.x(r.End)
	c.p.LineStroke([]charts.Point{{X: start, Y: middle}, {X: x, Y: middle}}, colour, 6)
	if !c.from.Before(r.End) {
		c.p.FilledDiamond(x, middle, 2*dot+8, 2*dot+8, colour, colour, 1)
	} else {
		c.p.Circle(dot, x, middle, colour, colour, 1)
	}
	label := r.End.In(c.zone).Format("2 Jan")
	if !c.from.Before(r.End) {
		label = "since " + r.End.In(c.zone).Format("2 Jan 2006")
	}
	box := c.p.MeasureText(label, 0, style(letters, ink()))
	at := x + dot + 10
	if at+box.Width() > width-10 {
		at = x - dot - 12 - box.Width()
		// The line must not strike the letters through.
		ground := ground()
		if n%2 == 0 {
			ground = stripe()
		}
		c.p.FilledRect(at-6, middle-16, at+box.Width()+6, middle+16, ground, ground, 0)
	}
	c.p.Text(label, at, middle+10, 0, style(letters, ink()))
}

// Days before its end from which something has another colour.
const (
	soonDays  = 30
	laterDays = 90
)

func (c canvas) colour(end time.Time) charts.Color {
	switch left := end.Sub(c.from); {
	case left <= 0:
		return overdue()
	case left <= soonDays*24*time.Hour:
		return soon()
	case left <= laterDays*24*time.Hour:
		return later()
	}
	return far()
}

func (c canvas) legend() {
	y, x := top+c.height+56, margin+dot
	for n, one := range []struct {
		colour charts.Color
		words  string
	}{
		{overdue(), "overdue"}, {soon(), fmt.Sprintf("in %d days", soonDays)}, {later(), fmt.Sprintf("in %d days", laterDays)}, {far(), "later"},
	} {
		if n == 0 {
			c.p.FilledDiamond(x, y, 2*dot+8, 2*dot+8, one.colour, one.colour, 1)
		} else {
			c.p.Circle(dot, x, y, one.colour, one.colour, 1)
		}
		c.p.Text(one.words, x+dot+12, y+10, 0, style(letters, ink()))
		x += dot + 12 + c.p.MeasureText(one.words, 0, style(letters, ink())).Width() + 48
	}
}

func shorten(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return name
}
