package plan

import (
	"time"

	"certd/state"
)

// A Stage is how near to its end a certificate in use has come although it should
// have been renewed before. Stages follow each other; the empty one is none.
type Stage string

// The stages of a certificate that is expiring.
const (
	StageFifth     Stage = "fifth"     // less than a fifth of its lifetime is left
	StageTwentieth Stage = "twentieth" // less than a twentieth
	StageExpired   Stage = "expired"
)

// Expiring returns the stage of a certificate at now, and since when it has come
// to that, in UTC.
func Expiring(c *state.Certificate, now time.Time) (stage Stage, since time.Time) {
	lifetime := c.NotAfter.Sub(c.NotBefore)
	for _, s := range []struct {
		stage Stage
		left  time.Duration
	}{{StageExpired, 0}, {StageTwentieth, lifetime / 20}, {StageFifth, lifetime / 5}} {
		if since := c.NotAfter.Add(-s.left); !now.Before(since) && lifetime > 0 {
			return s.stage, since.UTC()
		}
	}
	return "", time.Time{}
}

// Say is the stage in words.
func (s Stage) Say() string {
	switch s {
	case StageFifth, StageTwentieth:
		return "less than a " + string(s) + " of its lifetime is left"
	}
	return string(s)
}

// Before reports whether a stage comes before another.
func (s Stage) Before(other Stage) bool { return s.rank() < other.rank() }

func (s Stage) rank() int {
	switch s {
	case StageFifth:
		return 1
	case StageTwentieth:
		return 2
	case StageExpired:
		return 3
	}
	return 0
}
