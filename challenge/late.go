package challenge

import (
	"net"
	"sync"
	"time"
)

// A late answer stays for a while after its challenge is over: CAs look from
// several places, and some of those looks come late.
type late struct {
	timer *time.Timer
	end   func() // once
}

// later has end called once answers have lingered, or with Close or Hush if that
// comes first.
func (r *Responder) later(end func()) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		end()
		return
	}
	defer r.mu.Unlock()
	l := &late{end: sync.OnceFunc(end)}
	if r.late == nil {
		r.late = map[*late]bool{}
	}
	r.late[l] = true
	l.timer = time.AfterFunc(r.Linger, func() {
		l.end()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.late, l)
	})
}

// Hush ends all answers that linger, and joins what ends them by itself.
func (r *Responder) Hush() {
	r.mu.Lock()
	all := r.late
	r.late = nil
	r.mu.Unlock()
	for l := range all {
		l.timer.Stop()
		l.end()
	}
}

// retire ends the use of listeners, and calls forget. Where answers linger, both
// come later; but a port that others can want to have, a web server that a hook
// starts among them, is free at once.
func (r *Responder) retire(opened []*listener, forget func()) error {
	if r.Linger <= 0 {
		forget()
		return r.releaseAll(opened)
	}
	var now, then []*listener
	for _, l := range opened {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
			then = append(then, l)
		} else {
			now = append(now, l)
		}
	}
	r.later(func() {
		forget()
		_ = r.releaseAll(then) // nobody is there to be told
	})
	return r.releaseAll(now)
}
