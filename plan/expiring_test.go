package plan

import (
	"testing"
	"time"
)

func TestExpiring(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		age, lifetime time.Duration
		want          Stage
		since         time.Duration // from noon
	}{
		{0, 90 * day, "", 0},
		{71 * day, 90 * day, "", 0},
		{72 * day, 90 * day, StageFifth, 0},
		{75 * day, 90 * day, StageFifth, -3 * day},
		{86 * day, 90 * day, StageTwentieth, -12 * time.Hour},
		{90 * day, 90 * day, StageExpired, 0},
		{100 * day, 90 * day, StageExpired, -10 * day},
		{time.Minute, 0, "", 0},
		{5 * time.Hour, 6 * time.Hour, StageFifth, -12 * time.Minute},
	} {
		got, since := Expiring(cert("c", "a.example.com", tt.age, tt.lifetime), noon())
		if got != tt.want || got != "" && !since.Equal(noon().Add(tt.since)) {
			t.Errorf("after %v of %v: %q since %v, want %q since %v from noon", tt.age, tt.lifetime, got, since, tt.want, tt.since)
		}
	}
	order := []Stage{"", StageFifth, StageTwentieth, StageExpired}
	for i, a := range order {
		for j, b := range order {
			if a.Before(b) != (i < j) {
				t.Errorf("%q before %q: %v", a, b, a.Before(b))
			}
		}
	}
}
