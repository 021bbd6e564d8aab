package challenge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"

	"certd/acme"
	"certd/acme/acmetest"
	"certd/challenge"
	"certd/challenge/challengetest"
	"certd/challenge/dnscheck"
)

// The label of the draft's example account.
func TestAccountLabel(t *testing.T) {
	t.Parallel()
	if got := challenge.AccountLabel("https://example.com/acme/acct/ExampleAccount"); got != "_ujmmovf2vn55tgye" {
		t.Errorf("the label is %q, want that of draft-ietf-acme-dns-account-label", got)
	}
}

func TestParsePersist(t *testing.T) {
	t.Parallel()
	const account = "https://ca.test/acct/1"
	for _, tt := range []struct{ text, want, wrong string }{
		{text: "ca.test; accounturi=" + account, want: "ca.test; accounturi=" + account},
		{text: " CA.test ;\taccountURI = " + account + " ;Policy=WILDCARD; persistUntil=1767225600", want: "ca.test; accounturi=" + account + "; policy=wildcard; persistUntil=1767225600"},
		{text: "ca.test;accounturi=" + account + ";policy=other;future=1", want: "ca.test; accounturi=" + account},
		{text: "", wrong: "names no CA"},
		{text: "; accounturi=" + account, wrong: "names no CA"},
		{text: "ca.test", wrong: "no accounturi"},
		{text: "ca.test; accounturi=", wrong: "no accounturi"},
		{text: "ca.test; accounturi=" + account + ";", wrong: "not key=value"},
		{text: "ca.test; accounturi=a; accounturi=b", wrong: "comes twice"},
		{text: "ca.test; accounturi=" + account + "; persistUntil=soon", wrong: "no time"},
		{text: "ca.test; accounturi=a b", wrong: "characters"},
		{text: "ca.test; accounturi=" + strings.Repeat("a", 3000), wrong: "longer than"},
	} {
		got, err := challenge.ParsePersist(tt.text)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q: the error is %v, want %q", tt.text, err, tt.wrong)
			}
			continue
		}
		if err != nil || got.String() != tt.want {
			t.Errorf("%q is %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

func FuzzParsePersist(f *testing.F) {
	for _, seed := range []string{"", ";", "ca.test; accounturi=a; policy=wildcard; persistUntil=-9223372036854775808", "a;b=c;=;;", "ca;accounturi=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := challenge.ParsePersist(text)
		if err != nil {
			return
		}
		again, err := challenge.ParsePersist(r.String())
		if err != nil || again != r {
			t.Errorf("%q is read as %+v, and that again as %+v, %v", text, r, again, err)
		}
	})
}

// A record is used only if it says exactly what is needed.
func TestPersist(t *testing.T) {
	t.Parallel()
	ca := acmetest.StartT(t, acmetest.Options{})
	const account = "https://ca.test/acct/1"
	p := &challenge.Persist{Checker: &dnscheck.Checker{Resolver: ca.Resolver()}, Account: account}
	ch := acme.Challenge{Type: challenge.TypeDNSPersist01, IssuerDomains: []string{"ca.test", "ca.example"}}
	wild := ch
	wild.Wildcard = true
	soon := challenge.PersistRecord{Issuer: "ca.test", Account: account, Until: time.Now().Add(time.Hour)}.String()
	for name, tt := range map[string]struct {
		ch    acme.Challenge
		texts []string
		wrong string
	}{
		"none.test":    {ch, nil, `create the record: _validation-persist.none.test. TXT "ca.test; accounturi=https://ca.test/acct/1"`},
		"right.test":   {ch, []string{"v=spf1 -all", "ca.example; accounturi=" + account}, ""},
		"soon.test":    {ch, []string{soon}, ""},
		"past.test":    {ch, []string{"ca.test; accounturi=" + account + "; persistUntil=1"}, "ended at 1970-01-01T00:00:01Z"},
		"other.test":   {ch, []string{"other.test; accounturi=" + account}, "is for another CA"},
		"account.test": {ch, []string{"ca.test; accounturi=" + account + "2"}, "is for another account"},
		"policy.test":  {wild, []string{"ca.test; accounturi=" + account}, "does not say policy=wildcard"},
		"wild.test":    {wild, []string{"ca.test; accounturi=" + account + "; policy=wildcard"}, ""},
		"silent.test":  {acme.Challenge{}, []string{"ca.test; accounturi=" + account}, "does not say which issuer domain name"},
		"bad.test":     {ch, []string{"ca.test; accounturi"}, "is malformed"},
	} {
		add(ca.DNS(), "_validation-persist."+name+".", tt.texts)
		err := p.Present(t.Context(), acme.NewIdentifier(name), tt.ch)
		if (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s with %q: the error is %v, want %q", name, tt.texts, err, tt.wrong)
		}
		if err := p.CleanUp(t.Context(), acme.NewIdentifier(name), tt.ch); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ca.DNS().AddDNSServFailRecord("_validation-persist.broken.test.")
	for _, id := range []string{"broken.test", "192.0.2.1"} {
		if err := p.Prepared(t.Context(), acme.NewIdentifier(id), ch); err == nil {
			t.Errorf("%s is prepared", id)
		}
	}
}

func add(data *challtestsrv.ChallSrv, name string, texts []string) {
	for _, text := range texts {
		data.AddDNSTXTRecord(name, text)
	}
}

// dns-account-01 is dns-01 at a name of the account's own.
func TestContractDNSAccount(t *testing.T) {
	t.Parallel()
	label := challenge.AccountLabel("https://example.com/acme/acct/ExampleAccount")
	challengetest.Run(t, challengetest.Harness{NamesOnly: true, Start: func(t *testing.T) challengetest.Subject {
		zone, kept := &fakeZone{}, &journal{}
		dns := &challenge.DNS{Journal: kept, Hook: zone.hook, Checker: nobody(), NoWait: true}
		return challengetest.Subject{
			Solver: &challenge.DNS01{DNS: dns, Label: label},
			Fetch: func(token string) (string, bool, error) {
				for _, name := range zone.left() {
					if !strings.HasPrefix(name, label+"._acme-challenge.") {
						t.Errorf("the record is %s, want the account's label in front", name)
					}
				}
				return zone.fetch(token)
			},
			Left: func() []string { return append(zone.left(), kept.ids()...) },
		}
	}})
}
