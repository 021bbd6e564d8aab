package acme

import (
	"context"
	"sync"
)

// A flight gets a value once for everybody: the first caller fetches it, those
// who come meanwhile wait for that, and later ones find it. A failure goes to all
// who waited, and the next caller tries again. The zero value is ready.
type flight[T any] struct {
	mu      sync.Mutex
	have    bool // guarded by mu, as the rest
	value   T
	running *fetch
}

// fetch is one attempt to get the value. Its fields may be read once done is closed.
type fetch struct {
	done   chan struct{}
	err    error
	gaveUp bool // because of the fetcher's own context: no reason for others to fail
}

// get returns the value, calling fn if nobody has it yet.
func (f *flight[T]) get(ctx context.Context, fn func(context.Context) (T, error)) (T, error) {
	for {
		f.mu.Lock()
		if f.have {
			defer f.mu.Unlock()
			return f.value, nil
		}
		other := f.running
		if other == nil {
			mine := &fetch{done: make(chan struct{})}
			f.running = mine
			f.mu.Unlock()
			return f.lead(ctx, mine, fn)
		}
		f.mu.Unlock()

		var zero T
		select {
		case <-ctx.Done():
			return zero, ctx.Err()
		case <-other.done:
		}
		if other.err != nil && !other.gaveUp {
			return zero, other.err
		}
	}
}

// lead runs fn and tells the result to those who wait for mine.
func (f *flight[T]) lead(ctx context.Context, mine *fetch, fn func(context.Context) (T, error)) (value T, err error) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err == nil {
			f.have, f.value = true, value
		}
		mine.err, mine.gaveUp = err, ctx.Err() != nil
		f.running = nil
		close(mine.done)
	}()
	return fn(ctx)
}

// set makes value what everybody finds from now on.
func (f *flight[T]) set(value T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have, f.value = true, value
}

// peek returns the value if it is there.
func (f *flight[T]) peek() (T, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.value, f.have
}
