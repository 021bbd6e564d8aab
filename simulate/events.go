package simulate

// What happens to a target.
const (
	evPlan   = iota // it is due to be looked at
	evFinish        // its order ends
	evLearn         // it is told a new window by ARI
	evClock         // the clock is set; of no target
	evRecall        // certificates are recalled; of no target
)

// An event is something that happens at a moment.
type event struct {
	at    int64 // nanoseconds since the start of the simulation
	kind  int32
	id    int32  // target, or index
	stamp uint32 // tells whether it is still meant
}

// events is a heap: the earliest comes first.
type events []event

// before puts events of one moment in a fixed order.
func (e event) before(o event) bool {
	switch {
	case e.at != o.at:
		return e.at < o.at
	case e.kind != o.kind:
		return e.kind > o.kind
	}
	return e.id < o.id
}

// next returns when the earliest event is.
func (h events) next() (int64, bool) {
	if len(h) == 0 {
		return 0, false
	}
	return h[0].at, true
}

func (h *events) push(e event) {
	s := append(*h, e)
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
	*h = s
}

func (h *events) pop() event {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < last && s[child].before(s[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
	*h = s
	return top
}
