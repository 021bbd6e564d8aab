package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/log"
	"github.com/go-acme/lego/v4/providers/dns"
)

// A worker is a provider made ready for one request.
type worker interface {
	// do does what the request says.
	do() (answer, error)
	// cleanUp removes the record.
	cleanUp() error
}

// A legoWorker is a worker around one of lego's providers.
type legoWorker struct {
	req      request
	provider challenge.Provider
	settings answer // how the provider works
	said     *said  // what it printed
}

// newWorker makes the provider from the variables of the environment. It also
// sets what lego keeps in package variables: this process serves one request.
func newWorker(req request) (worker, error) {
	if err := direct(req); err != nil {
		return nil, err
	}
	provider, err := dns.NewDNSChallengeProviderByName(req.Provider)
	if err != nil {
		return nil, setting(req.Provider, err)
	}
	w := &legoWorker{req: req, provider: additive(provider), said: newSaid()}
	log.Logger = w.said
	w.settings = describe(w.provider)
	return w, nil
}

// describe says how provider works.
func describe(provider challenge.Provider) answer {
	timeout, interval := dns01.DefaultPropagationTimeout, dns01.DefaultPollingInterval
	if p, ok := provider.(challenge.ProviderTimeout); ok {
		timeout, interval = p.Timeout()
	}
	a := answer{Timeout: seconds(timeout), Interval: seconds(interval)}
	if p, ok := provider.(interface{ Sequential() time.Duration }); ok {
		a.Sequential, a.Pause = true, seconds(p.Sequential())
	}
	return a
}

// seconds rounds up, so that a short time does not mean none.
func seconds(d time.Duration) int { return int((max(d, 0) + time.Second - 1) / time.Second) }

func (w *legoWorker) do() (answer, error) {
	a := w.settings
	switch w.req.Action {
	case actionPresent:
		err := w.provider.Present(w.req.Domain, w.req.token(), w.req.KeyAuthorization)
		a.Memory = remember(w.provider) // also of a present that failed half way
		if err != nil {
			return a, bare(w.req.Provider, w.said.explain(err), os.Environ())
		}
	case actionCleanUp:
		if err := w.cleanUp(); err != nil {
			return a, err
		}
	}
	a.OK = true
	return a, nil
}

func (w *legoWorker) cleanUp() error {
	if len(w.req.Memory) > 0 {
		if err := restore(w.provider, w.req.Memory); err != nil {
			return fmt.Errorf("what was kept of the record: %w", err)
		}
	}
	return w.said.explain(w.provider.CleanUp(w.req.Domain, w.req.token(), w.req.KeyAuthorization))
}

// remember is what provider keeps in memory of the records it set.
func remember(provider challenge.Provider) json.RawMessage {
	data, err := dump(provider)
	if err != nil || len(data) > maxMemory {
		return nil // cleanup does without, as far as it can
	}
	return data
}
