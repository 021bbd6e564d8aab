package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"certd/acme"
	"certd/plan"
	"certd/state"
)

// warnExpiring raises the event "expiring" for certificates in use that come to
// their end although the pass was to replace them: once for each certificate and
// stage. A pass that has seen the state before another one came leaves that to the
// next one: they may have been replaced, or told of, since.
func (p *pass) warnExpiring(ctx context.Context) {
	if ctx.Err() != nil || !p.isNewest(p) {
		return // the next pass may still replace them
	}
	links := make(map[string][]string) // certificate to live names
	why := make(map[string]string)
	for _, res := range p.report.Results {
		a := res.Action
		if a.Kind == plan.Keep || a.Kind == plan.Relink || res.Outcome == Issued {
			continue
		}
		for _, link := range a.Links {
			id := p.view.Snapshot.Live[link]
			if slices.Contains(p.report.Updated, link) {
				id = a.CertID
			}
			links[id] = append(links[id], link)
			why[id] = a.Reason
			if res.Err != nil {
				why[id] = res.Err.Error()
			}
		}
	}
	for id, names := range links {
		if c := p.view.Snapshot.Certificates[id]; c != nil {
			p.warnOf(c, names, why[id])
		}
	}
}

func (p *pass) warnOf(c *state.Certificate, names []string, why string) {
	stage, since := plan.Expiring(c, p.view.Now)
	if !plan.Stage(c.Expiring).Before(stage) {
		return
	}
	// An ID that a run which was cut off before its mark would choose again.
	id := since.Format("20060102T150405.000000Z") + "-expiring-" + c.ID[:8]
	detail := acme.Sanitize(fmt.Sprintf("%s, NotAfter %s; %s", stage.Say(), c.NotAfter.UTC().Format(time.RFC3339), why))
	if !p.isPending(id) {
		p.Log.Warn("certificate expiring", "names", names, "stage", string(stage), "not_after", c.NotAfter.UTC(), "why", acme.Sanitize(why))
		p.raise(state.Event{ID: id, Event: "expiring", Names: names, Detail: detail})
	}
	if err := p.Store.MarkExpiring(c.ID, string(stage)); err != nil {
		p.other(err)
	}
}
