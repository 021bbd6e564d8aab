package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"certd/config"
	"certd/state"
)

// A Registered is the account that certd has at a CA.
type Registered struct {
	ID         string // state's, "<server>/<keyid>"
	URL        string // the CA's
	Thumbprint string // of the account key (RFC 8555 §8.1)
}

// Register finds the account at a CA, or makes one with the contact of
// o.Answers, which accepts the CA's terms of service. It asks the CA only if
// there is no account with a URL on disk. The caller holds the store's lock.
// ca need not be in conf/certd.yaml yet.
func Register(ctx context.Context, o Options, ca config.CA) (Registered, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &pass{Options: o, shift: newShift(), view: &View{Settings: &config.Settings{}, Targets: &config.Targets{}, Snapshot: &state.Snapshot{}}}
	p.clients = newClients(p)
	client, err := p.clients.connect(ctx, ca)
	if err != nil {
		return Registered{}, fmt.Errorf("account at %s: %w", ca.Name, err)
	}
	defer client.Close()
	thumbprint, err := client.Thumbprint()
	if err != nil {
		return Registered{}, fmt.Errorf("account at %s: %w", ca.Name, err)
	}
	if err := errors.Join(p.report.Other...); err != nil {
		return Registered{}, fmt.Errorf("account at %s: %w", ca.Name, err)
	}
	return Registered{ID: client.accountID, URL: client.kid, Thumbprint: thumbprint}, nil
}
