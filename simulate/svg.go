package simulate

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"text/template"
)

// The chart's measures, in its own units.
const (
	chartWidth  = 960
	chartHeight = 420
	plotLeft    = 72
	plotRight   = 936
	plotTop     = 76
	plotBottom  = 352
	maxColumns  = 432 // days are put together in a longer simulation
)

// chart is the template of the SVG. What it is filled with is made of numbers,
// or escaped by text.
const chart = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" width="{{.Width}}" height="{{.Height}}" role="img" aria-label="{{.Title}}">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 }
.small { font-size: 12px; fill: #57606a }
.grid { stroke: #d8dee4; stroke-width: 1 }
.axis { stroke: #57606a; stroke-width: 1 }
.peak { fill: #9ecbff }
.mean { fill: none; stroke: #0550ae; stroke-width: 2; stroke-linejoin: round }
.outage { fill: #8c959f; fill-opacity: 0.25 }
.recall { stroke: #8250df; stroke-width: 1.5; stroke-dasharray: 5 4 }
.expired { fill: #cf222e }
</style>
<rect width="{{.Width}}" height="{{.Height}}" fill="#ffffff"/>
<text class="title" x="{{.Left}}" y="30">{{.Title}}</text>
<text class="small" x="{{.Left}}" y="52">{{.Subtitle}}</text>
{{range .Outages}}<rect class="outage" x="{{.X}}" y="{{$.Top}}" width="{{.Width}}" height="{{$.PlotHeight}}"/>
{{end}}{{range .YTicks}}<line class="grid" x1="{{$.Left}}" x2="{{$.Right}}" y1="{{.At}}" y2="{{.At}}"/>
<text class="small" x="{{$.YLabel}}" y="{{.At}}" dy="4" text-anchor="end">{{.Label}}</text>
{{end}}<path class="peak" d="{{.Peak}}"/>
<path class="mean" d="{{.Mean}}"/>
{{range .Recalls}}<line class="recall" x1="{{.}}" x2="{{.}}" y1="{{$.Top}}" y2="{{$.Bottom}}"/>
{{end}}{{range .Expired}}<circle class="expired" cx="{{.}}" cy="{{$.Top}}" r="4"/>
{{end}}<line class="axis" x1="{{.Left}}" x2="{{.Right}}" y1="{{.Bottom}}" y2="{{.Bottom}}"/>
{{range .XTicks}}<line class="axis" x1="{{.At}}" x2="{{.At}}" y1="{{$.Bottom}}" y2="{{$.XTick}}"/>
<text class="small" x="{{.At}}" y="{{$.XLabel}}" text-anchor="middle">{{.Label}}</text>
{{end}}{{range .Legend}}<g transform="translate({{.X}} {{$.LegendY}})">{{.Sign}}<text x="26" y="4">{{.Label}}</text></g>
{{end}}</svg>
`

// A picture is what the template is filled with.
type picture struct {
	Width, Height, Left, Right, Top, Bottom, PlotHeight int
	YLabel, XTick, XLabel, LegendY                      int
	Title, Subtitle                                     string
	Peak, Mean                                          string
	Outages                                             []band
	Recalls, Expired                                    []string
	XTicks, YTicks                                      []tick
	Legend                                              []legend
}

type band struct{ X, Width string }

type tick struct{ At, Label string }

type legend struct {
	X           int
	Sign, Label string
}

// WriteSVG writes the result as a chart: the orders of each hour over the time.
func (r *Result) WriteSVG(out io.Writer) error {
	t, err := template.New("chart").Parse(chart)
	if err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, r.picture()); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	_, err = out.Write(b.Bytes())
	return err
}

// picture measures everything.
func (r *Result) picture() picture {
	o := r.Options
	p := picture{
		Width: chartWidth, Height: chartHeight, Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom, PlotHeight: plotBottom - plotTop,
		YLabel: plotLeft - 8, XTick: plotBottom + 5, XLabel: plotBottom + 20, LegendY: plotBottom + 50,
		Title: text(fmt.Sprintf("Orders per hour: %s names, certificates of %s from %s", number(o.Names), length(o.Lifetime), o.CA)),
		Subtitle: text(fmt.Sprintf("%s orders; peak %s, mean %.1f an hour; ever expired: %s", number(r.Orders.Sent), number(r.Orders.PeakHour),
			r.Orders.MeanHour, r.expired())),
	}
	days := float64(len(r.PerDay))
	x := func(day float64) string { return unit(plotLeft + (plotRight-plotLeft)*day/days) }
	step, top := scale(float64(r.Orders.PeakHour))
	y := func(n float64) string { return unit(plotBottom - (plotBottom-plotTop)*n/top) }
	for n := 0.0; n <= top; n += step {
		p.YTicks = append(p.YTicks, tick{y(n), text(trim(n))})
	}
	step, _ = scale(days)
	for n := 0.0; n <= days; n += step {
		label := trim(n)
		if n == 0 {
			label = "day 0"
		}
		p.XTicks = append(p.XTicks, tick{x(n), text(label)})
	}
	for _, s := range o.Outages {
		width := max((plotRight-plotLeft)*s.Length/day.Seconds()/days, 1)
		p.Outages = append(p.Outages, band{x(s.Day), unit(width)})
	}
	for _, d := range r.Recalls {
		p.Recalls = append(p.Recalls, x(d.Day))
	}
	p.Peak, p.Mean = r.lines(x, y)
	for i, d := range r.PerDay {
		if d.Expired > 0 {
			p.Expired = append(p.Expired, x(float64(i)+0.5))
		}
	}
	p.Legend = r.legend()
	return p
}

// lines draws the busiest hour and the mean hour of each column.
func (r *Result) lines(x, y func(float64) string) (peak, mean string) {
	per := (len(r.PerDay) + maxColumns - 1) / maxColumns
	var area, line strings.Builder
	area.WriteString("M" + x(0) + " " + y(0))
	for from := 0; from < len(r.PerDay); from += per {
		days := r.PerDay[from:min(from+per, len(r.PerDay))]
		most, sum := 0, 0
		for _, d := range days {
			most, sum = max(most, d.PeakHour), sum+d.Orders
		}
		left, right := x(float64(from)), x(float64(from+len(days)))
		fmt.Fprintf(&area, "L%s %[2]sL%s %[2]s", left, y(float64(most)), right)
		sign := "L"
		if from == 0 {
			sign = "M"
		}
		fmt.Fprintf(&line, "%s%s %s", sign, x(float64(from)+float64(len(days))/2), y(float64(sum)/float64(24*len(days))))
	}
	area.WriteString("L" + x(float64(len(r.PerDay))) + " " + y(0) + "Z")
	return area.String(), line.String()
}

// legend explains what is in the chart.
func (r *Result) legend() []legend {
	all := []struct {
		shown       bool
		width       int
		sign, label string
	}{
		{true, 190, `<rect class="peak" y="-8" width="18" height="16"/>`, "busiest hour of a day"},
		{true, 190, `<path class="mean" d="M0 0L18 0"/>`, "mean hour of a day"},
		{len(r.Options.Outages) > 0, 150, `<rect class="outage" y="-8" width="18" height="16"/>`, "CA unreachable"},
		{len(r.Recalls) > 0, 170, `<line class="recall" x1="9" x2="9" y1="-9" y2="9"/>`, "certificates recalled"},
		{r.Expired.Times > 0, 150, `<circle class="expired" cx="9" cy="0" r="4"/>`, "names expired"},
	}
	var out []legend
	x := plotLeft
	for _, e := range all {
		if e.shown {
			out = append(out, legend{x, e.sign, e.label})
			x += e.width
		}
	}
	return out
}

// scale returns the distance of about five round ticks, and where the axis ends.
func scale(most float64) (step, top float64) {
	most = max(most, 1)
	magnitude := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * magnitude; most/step <= 6 {
			break
		}
	}
	return step, step * math.Ceil(most/step)
}

// trim writes a tick: a whole number where it is one.
func trim(n float64) string {
	if n == math.Trunc(n) {
		return number(int(n))
	}
	return fmt.Sprintf("%.1f", n)
}

// unit writes a coordinate.
func unit(n float64) string { return fmt.Sprintf("%.1f", n) }

// text escapes for XML.
func text(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes everything
	return b.String()
}
