package doctor_test

import (
	"net/http"
	"testing"
	"time"

	"certd/acme/acmetest"
	"certd/doctor"
)

// TestSkew: a CA whose Date is elsewhere tells how wrong this clock is.
func TestSkew(t *testing.T) {
	t.Parallel()
	for skew, want := range map[time.Duration]doctor.Result{
		-4 * time.Second:  doctor.OK,
		-30 * time.Second: doctor.Warning,
		30 * time.Second:  doctor.Warning,
		-2 * time.Minute:  doctor.Failure,
		24 * time.Hour:    doctor.Failure,
	} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, acmetest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
					next.ServeHTTP(w, r)
				})
			}})
			b.want(b.run(), "clock", want, "the CA's")
		})
	}
}
