package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	xacme "golang.org/x/crypto/acme"
)

const (
	maxList     = 1000 // entries of a list that a CA sends
	maxProfiles = 100
	maxCAA      = 100
)

// directory is the CA's directory as we know it and as the library wants it.
type directory struct {
	Directory
	keyChange, revokeCert bool   // whether the CA offers them
	body                  []byte // what the library gets to read
}

// wireDirectory is RFC 8555 §7.1.1, draft-ietf-acme-profiles and RFC 9773 §4.1.
type wireDirectory struct {
	NewNonce    string `json:"newNonce"`
	NewAccount  string `json:"newAccount"`
	NewOrder    string `json:"newOrder"`
	NewAuthz    string `json:"newAuthz"`
	RevokeCert  string `json:"revokeCert"`
	KeyChange   string `json:"keyChange"`
	RenewalInfo string `json:"renewalInfo"`
	Meta        struct {
		Terms       text            `json:"termsOfService"`
		Website     text            `json:"website"`
		CAA         []text          `json:"caaIdentities"`
		EABRequired bool            `json:"externalAccountRequired"`
		Profiles    map[string]text `json:"profiles"`
	} `json:"meta"`
}

// Directory returns what the CA says of itself (RFC 8555 §7.1.1). It is fetched
// once; every URL to be used later is checked to be https and of one origin.
func (c *Client) Directory(ctx context.Context) (*Directory, error) {
	d, err := c.loadDirectory(ctx)
	if err != nil {
		return nil, err
	}
	public := d.Directory
	public.CAA = slices.Clone(d.CAA)
	public.Profiles = maps.Clone(d.Profiles)
	return &public, nil
}

// loadDirectory is Directory with what only this package needs.
func (c *Client) loadDirectory(ctx context.Context) (*directory, error) {
	r := request{name: "directory", op: "directory", repeat: true}
	d, err := c.directory.get(ctx, func(ctx context.Context) (d *directory, err error) {
		err = c.do(ctx, r, func(ctx context.Context, x *xacme.Client) error {
			_, err := x.Discover(ctx)
			return err
		}, func(a *answer) (err error) {
			d, err = c.parseDirectory(a)
			return err
		})
		return d, err
	})
	if _, ok := errors.AsType[*Problem](err); err != nil && !ok {
		return nil, c.problem(r, nil, err)
	}
	return d, err
}

// parseDirectory checks and converts the answer.
func (c *Client) parseDirectory(a *answer) (*directory, error) {
	var w wireDirectory
	if err := decode(a.body, &w); err != nil {
		return nil, err
	}
	for _, u := range []struct {
		what, url string
		required  bool
	}{
		{"newNonce", w.NewNonce, true},
		{"newAccount", w.NewAccount, true},
		{"newOrder", w.NewOrder, true},
		{"newAuthz", w.NewAuthz, false},
		{"revokeCert", w.RevokeCert, false},
		{"keyChange", w.KeyChange, false},
		{"renewalInfo", w.RenewalInfo, false},
	} {
		if u.url == "" {
			if u.required {
				return nil, fmt.Errorf("this is no ACME directory: %s is missing", u.what)
			}
			continue
		}
		if err := c.origin.check(u.what, u.url); err != nil {
			return nil, err
		}
	}
	if len(w.Meta.Profiles) > maxProfiles || len(w.Meta.CAA) > maxCAA {
		return nil, fmt.Errorf("%d profiles and %d CAA identities, more than %d", len(w.Meta.Profiles), len(w.Meta.CAA), maxProfiles)
	}
	d := &directory{Directory: Directory{
		Terms:       string(w.Meta.Terms),
		Website:     string(w.Meta.Website),
		EABRequired: w.Meta.EABRequired,
		Profiles:    make(map[string]string, len(w.Meta.Profiles)),
		RenewalInfo: w.RenewalInfo,
	}, keyChange: w.KeyChange != "", revokeCert: w.RevokeCert != ""}
	for _, name := range w.Meta.CAA {
		d.CAA = append(d.CAA, strings.ToLower(string(name)))
	}
	for name, description := range w.Meta.Profiles {
		d.Profiles[Sanitize(name)] = string(description)
	}
	// The library says that we agree to the terms only if there are some. Who
	// registers has agreed, and a CA may want to hear it without naming any.
	if w.Meta.Terms == "" {
		w.Meta.Terms = text(c.directoryURL)
	}
	var err error
	d.body, err = json.Marshal(w)
	return d, err
}
