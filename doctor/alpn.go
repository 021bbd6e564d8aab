package doctor

import (
	"context"

	"certd/acme"
	"certd/challenge"
)

// orALPN returns an add that holds failures of http-01 back: at done they are
// warnings if tls-alpn-01 proves the name instead, as it does at an order.
func (r *run) orALPN(ctx context.Context, s subject, thumbprint string, add func(string, Result, string, string)) (held func(string, Result, string, string), done func()) {
	if m := s.target.Challenge.Method; m != challenge.MethodAny && m != challenge.MethodListen {
		return add, func() {}
	}
	var failed []Finding
	held = func(check string, result Result, detail, remedy string) {
		if result == Failure {
			failed = append(failed, Finding{Check: check, Detail: detail, Remedy: remedy})
			return
		}
		add(check, result, detail, remedy)
	}
	return held, func() {
		if len(failed) == 0 || ctx.Err() != nil {
			for _, f := range failed {
				add(f.Check, Failure, f.Detail, f.Remedy)
			}
			return
		}
		err := r.testALPN(ctx, s, thumbprint)
		result := Failure
		if err == nil {
			result = Warning
		}
		for _, f := range failed {
			add(f.Check, result, f.Detail, f.Remedy)
		}
		if err != nil {
			add(challenge.TypeTLSALPN01, Warning, oneLine(err), "it takes the place of http-01 where handshakes to the name reach certd")
			return
		}
		add(challenge.TypeTLSALPN01, OK, "a handshake to the name got the right answer, so it is proven without http-01", "")
	}
}

// testALPN presents a random tls-alpn-01 challenge and looks for it.
func (r *run) testALPN(ctx context.Context, s subject, thumbprint string) error {
	t, err := challenge.NewTLSALPN01(r.challengeConfig(s, thumbprint), r.alpn)
	if err != nil {
		return err
	}
	t.SelfTest.Limit = r.Limit
	id, ch := acme.NewIdentifier(s.name), acme.Challenge{Type: challenge.TypeTLSALPN01, Token: token()}
	ch.KeyAuthorization = ch.Token + "." + token()
	defer func() { _ = t.CleanUp(context.WithoutCancel(ctx), id, ch) }() // ports are closed at the end in any case
	if err := t.Present(ctx, id, ch); err != nil {
		return err
	}
	return t.Wait(ctx, id, ch)
}
