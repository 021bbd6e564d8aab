package issue

import (
	"context"
	"errors"
	"slices"
	"time"

	"certd/acme"
)

const (
	lingerTime  = 3 * time.Second  // for the CA's verdict after a cancellation
	busyWait    = 30 * time.Second // between two looks at most, if the CA wants to be left alone
	answerAgain = time.Second      // before a challenge that failed is answered again

	verdictTries = 4                // of waiting for the CA's verdict, if the network fails,
	verdictTime  = 30 * time.Second // unless it has lasted so long
)

// linger returns a context that outlives ctx: by canceled if that is canceled,
// by late if its time is up.
func linger(ctx context.Context, canceled, late time.Duration) (lasting context.Context, stop func()) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		d := canceled
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			d = late
		}
		time.AfterFunc(d, cancel)
	})
	return lasting, func() { forget(); cancel() }
}

// verdict waits until the CA has judged p. If it could not be told to, it is
// not waited for, unless it is at it nevertheless. Where the CA leaves it to us
// to have it look again, it does so once; whoever goes on with the order later
// has two more tries.
func (r *run) verdict(ctx context.Context, p *proof) error {
	if p.err != nil {
		var authz *acme.Authorization
		err := patiently(ctx, func() (ended bool, err error) {
			authz, err = r.Client.Authorization(ctx, p.authz.URL)
			return refused(p.err), err
		})
		if err != nil || !underWay(authz, p.ch) {
			return p.err
		}
	}
	err := r.await(ctx, p)
	if errors.Is(err, acme.ErrPendingAgain) && p.solver != nil {
		if pauseErr := pause(ctx, answerAgain); pauseErr != nil {
			return errors.Join(about(err, p), pauseErr)
		}
		if p.answer(ctx, r.Client); p.err == nil {
			err = r.await(ctx, p)
		}
	}
	return about(err, p)
}

// answer tells the CA to look.
func (p *proof) answer(ctx context.Context, client *acme.Client) {
	pollAt, err := client.AnswerPollAt(ctx, p.ch)
	p.pollAt, p.err = pollAt, about(err, p)
}

// await polls until the CA has judged p, not before it wants to be asked.
func (r *run) await(ctx context.Context, p *proof) error {
	if err := pause(ctx, time.Until(p.pollAt)); err != nil {
		return err
	}
	err := patiently(ctx, func() (judged bool, err error) {
		authz, err := r.Client.WaitChallenge(ctx, p.authz.URL, p.ch)
		return authz != nil, err
	})
	switch {
	case err == nil:
		r.authorized(p.ch.Type, "valid")
	case acme.ClassOf(err) == acme.ClassName && !errors.Is(err, acme.ErrPendingAgain):
		r.authorized(p.ch.Type, "invalid")
	}
	return err
}

// patiently calls look until it ended or gives no error that may pass: neither a
// connection that breaks nor a CA that has too much to do is a reason to take
// away what the CA looks for.
func patiently(ctx context.Context, look func() (ended bool, err error)) error {
	begun := time.Now()
	for try := 1; ; {
		ended, err := look()
		if err == nil || ended {
			return err
		}
		wait := 50 * time.Millisecond << try
		switch {
		case acme.ClassOf(err) == acme.ClassWait:
			wait = busy(err)
			begun = begun.Add(wait)
		case !passing(err) || try == verdictTries || time.Since(begun) > verdictTime:
			return err
		default:
			try++
		}
		if cut := pause(ctx, wait); cut != nil {
			if acme.ClassOf(err) == acme.ClassWait { // the CA named a time
				return errors.Join(err, cut)
			}
			return cut
		}
	}
}

// busy is for how long a CA that limits requests is left alone.
func busy(err error) time.Duration {
	p, _ := errors.AsType[*acme.Problem](err)
	return min(max(time.Until(p.RetryAt), time.Second), busyWait)
}

// passing reports whether err is of the network, or of a CA out of order.
func passing(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && p.Class == acme.ClassTransient && (p.Status == 0 || p.Status >= 500)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// underWay reports whether the CA got the answer to ch.
func underWay(authz *acme.Authorization, ch acme.Challenge) bool {
	if authz.Status != acme.StatusPending {
		return true
	}
	return slices.ContainsFunc(authz.Challenges, func(c acme.Challenge) bool {
		return c.URL == ch.URL && c.Status != acme.StatusPending
	})
}
