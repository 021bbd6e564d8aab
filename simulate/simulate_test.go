package simulate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"certd/config"
	"certd/simulate"
)

// eventful is a short simulation in which everything happens.
func eventful() simulate.Options {
	o := simulate.Defaults()
	o.Names, o.PerCertificate, o.Length, o.Lifetime, o.Failing, o.Seed = 61, 2, 40*day, 10*day, 0.1, 7
	o.CA = config.CA{Name: `<a> & "b"`, Directory: "https://ca.internal/directory", Limits: []config.Limit{{Name: "orders", Per: config.PerAccount, Burst: 10, Window: day}}}
	o.Outages = []simulate.Span{{Start: 8 * day, Length: 12 * time.Hour}, {Start: 20 * day, Length: 6 * day}}
	o.Recalls = []simulate.Recall{{At: 15 * day, Share: 0.5}}
	o.Clock = []simulate.Jump{{At: 30 * day, By: time.Hour}, {At: 31 * day, By: -time.Hour}}
	return o
}

func TestSameAgain(t *testing.T) {
	t.Parallel()
	var got [2]string
	for i := range got {
		data, err := json.Marshal(run(t, eventful()))
		if err != nil {
			t.Fatal(err)
		}
		got[i] = string(data)
	}
	if got[0] != got[1] {
		t.Errorf("the same options give %s and %s", got[0], got[1])
	}
	o := eventful()
	o.Seed++
	if data, _ := json.Marshal(run(t, o)); string(data) == got[0] {
		t.Error("another seed gives the same")
	}
}

// TestSums: what is counted in several ways comes to the same.
func TestSums(t *testing.T) {
	t.Parallel()
	r := run(t, eventful())
	orders, peak, expired, causes := 0, 0, 0, 0
	for _, d := range r.PerDay {
		orders, peak, expired = orders+d.Orders, max(peak, d.PeakHour), expired+d.Expired
	}
	for _, n := range r.Orders.Causes {
		causes += n
	}
	o := r.Orders
	if len(r.PerDay) != 40 || orders != o.Sent || causes != o.Sent || peak != o.PeakHour || expired != r.Expired.Times {
		t.Errorf("%d days with %d orders (%d by cause), at most %d an hour, %d expired; the sums are %+v and %+v", len(r.PerDay), orders, causes, peak, expired, o, r.Expired)
	}
	if o.Issued+o.Unreachable+o.Refused+o.Failed != o.Sent {
		t.Errorf("not every order ended: %+v", o)
	}
	if !r.PerDay[8].Outage || r.PerDay[9].Outage || !r.PerDay[25].Outage || r.PerDay[26].Outage {
		t.Error("outages are on other days")
	}
	if r.Options.Certificates != 31 || o.Unreachable == 0 || o.Failed == 0 || len(r.Limits) != 1 || r.Recalls[0].Certificates == 0 || r.LeastLeft == nil {
		t.Errorf("not everything happened: %+v", r)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := run(t, eventful()).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"simulated      40 days, 61 names in 31 certificates of 10 days\n", "\norders         ", " not authorized\n", "\nper hour       peak ", "\never expired   ",
		"\nlimit waits    orders: ", "\nrecalled       day 15.0: ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// TestChart: the chart is well-formed, stays within its frame, and has a mark for
// whatever happened.
func TestChart(t *testing.T) {
	t.Parallel()
	o := eventful()
	o.Outages[1].Length = 15 * day
	count := map[string]int{}
	var b bytes.Buffer
	if err := run(t, o).WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, b.String())
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					count[a.Value]++
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.Contains(a.Value, "-") && a.Name.Local == "x" {
					t.Errorf("<%s> has %s=%q", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	for class, least := range map[string]int{"title": 1, "peak": 2, "mean": 2, "outage": 3, "recall": 2, "expired": 2, "grid": 3} {
		if count[class] < least {
			t.Errorf("%d elements of class %q, want %d", count[class], class, least)
		}
	}
	if !strings.Contains(b.String(), "from &lt;a&gt; &amp; &#34;b&#34;") {
		t.Errorf("the name of the CA is not there, or not escaped: %.600s", b.String())
	}
}

// TestNothingHappens has the shortest simulation.
func TestNothingHappens(t *testing.T) {
	t.Parallel()
	o := simulate.Defaults()
	o.Names, o.Length, o.Outages = 1, time.Hour, []simulate.Span{{Start: 0, Length: time.Hour}}
	r := run(t, o)
	var b bytes.Buffer
	if err := errors.Join(r.WriteSVG(&b), r.WriteText(&b)); err != nil || r.Orders.Issued != 0 || r.Complete != nil || r.Expired.Times != 0 {
		t.Errorf("%v, %+v", err, r)
	}
	if !strings.Contains(b.String(), "all certified  never") {
		t.Errorf("got:\n%s", b.String())
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*simulate.Options){
		"names: want 1 to 1000000, found 0": func(o *simulate.Options) { o.Names = 0 },
		"names per certificate":             func(o *simulate.Options) { o.PerCertificate = 101 },
		"names per domain":                  func(o *simulate.Options) { o.PerDomain = 0 },
		"parallel":                          func(o *simulate.Options) { o.Parallel = 0 },
		"lifetime":                          func(o *simulate.Options) { o.Lifetime = time.Minute },
		"length:":                           func(o *simulate.Options) { o.Length = 0 },
		"time of an order":                  func(o *simulate.Options) { o.OrderTime = 0 },
		"start of an outage":                func(o *simulate.Options) { o.Outages = []simulate.Span{{Start: -1, Length: day}} },
		"setting the clock by":              func(o *simulate.Options) { o.Clock = []simulate.Jump{{By: 1 << 62}} },
		"share of 2":                        func(o *simulate.Options) { o.Recalls = []simulate.Recall{{Share: 2}} },
		"share of -1":                       func(o *simulate.Options) { o.Failing = -1 },
		"no CA":                             func(o *simulate.Options) { o.CA = config.CA{} },
	} {
		o := simulate.Defaults()
		change(&o)
		if _, err := simulate.Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := simulate.Run(ctx, simulate.Defaults()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v after the context was cancelled", err)
	}
}
