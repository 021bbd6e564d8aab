package hooks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// A Remote has hooks run by another process, which is root where this one is
// not: it connects to the socket at which Serve listens, such as that of the
// systemd unit certd-hooks.socket. Its zero value reaches nobody.
//
// The other process trusts this one with the choice of the event alone. It has
// hook directories of its own, vets them as always, and takes no environment
// variable whose name does not begin with CERTD_.
type Remote struct {
	Socket  string        // path of a unix socket
	Timeout time.Duration // of one event, all hooks together; zero means 1 hour
	Dirs    []string      // the hook directories of the other process, for List; only to be looked at
}

// List is Runner.List as this process sees it: the other one, which may see more
// or refuse less, vets the hooks for itself.
func (r *Remote) List() ([]Hook, error) { return (&Runner{Dirs: r.Dirs}).List() }

// The two ends exchange four lines of JSON: the event, the hooks there are,
// those among them to pass over, and what the others said.
type (
	wireEvent struct {
		Name  string            `json:"name"`
		Args  []string          `json:"args,omitempty"`
		Stdin []byte            `json:"stdin,omitempty"`
		Env   map[string]string `json:"env,omitempty"`
	}
	wireHooks struct {
		Hooks []string `json:"hooks"`
	}
	wireSkip struct {
		Skip []string `json:"skip"`
	}
	wireResult struct {
		Hook    string        `json:"hook"`
		Outcome Outcome       `json:"outcome"`
		Code    int           `json:"code"`
		Err     string        `json:"err,omitempty"`
		Output  string        `json:"output,omitempty"`
		Took    time.Duration `json:"took_ns"`
	}
	wireResults struct {
		Results []wireResult `json:"results"`
		Err     string       `json:"err,omitempty"`
	}
)

const (
	maxWire       = 32 << 20 // bytes of a line
	remoteTimeout = time.Hour
	dialTimeout   = 10 * time.Second
	wirePrefix    = "CERTD_" // of variables that another process's hooks may be told
)

// Run is Runner.Run in the other process. An error also says that the socket
// could not be reached, or that the other end broke off.
func (r *Remote) Run(ctx context.Context, ev Event, skip func(path string) bool) ([]Result, error) {
	if err := ev.check(); err != nil {
		return nil, err
	}
	if err := checkWire(ev); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, or(r.Timeout, remoteTimeout))
	defer cancel()
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", r.Socket)
	if err != nil {
		return nil, fmt.Errorf("have hooks run (is certd-hooks.socket started?): %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	results, err := talk(conn, ev, skip)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return results, fmt.Errorf("hooks for %s, by %s: %w", ev.Name, r.Socket, err)
	}
	return results, nil
}

// talk is this end of the exchange.
func talk(conn net.Conn, ev Event, skip func(path string) bool) ([]Result, error) {
	if err := say(conn, wireEvent{Name: ev.Name, Args: ev.Args, Stdin: ev.Stdin, Env: ev.Env}); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	var there wireHooks
	if err := hear(in, &there); err != nil {
		return nil, err
	}
	pass := wireSkip{Skip: []string{}}
	for _, path := range there.Hooks {
		if skip != nil && skip(path) {
			pass.Skip = append(pass.Skip, path)
		}
	}
	if err := say(conn, pass); err != nil {
		return nil, err
	}
	var said wireResults
	if err := hear(in, &said); err != nil {
		return nil, err
	}
	results := make([]Result, 0, len(said.Results))
	for _, w := range said.Results {
		results = append(results, Result{Hook: w.Hook, Outcome: w.Outcome, Code: w.Code, Err: errorOf(w.Err), Output: w.Output, Took: w.Took})
	}
	return results, errorOf(said.Err)
}

func errorOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// Serve is the other end of Remote, for one event: it reads what is asked from
// conn, runs the hooks of r, and answers. The hooks are ended if whoever asks
// goes away. The error says that the request was not understood or refused, and
// was sent as well as far as possible.
func Serve(ctx context.Context, conn net.Conn, r *Runner) error {
	in := bufio.NewReader(conn)
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	var w wireEvent
	if err := hear(in, &w); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	ev := Event{Name: w.Name, Args: w.Args, Stdin: w.Stdin, Env: w.Env}
	if err := errors.Join(ev.check(), checkWire(ev)); err != nil {
		refusal := errors.Join(say(conn, wireHooks{}), hear(in, &wireSkip{}), say(conn, wireResults{Err: err.Error()}))
		return errors.Join(err, refusal)
	}
	list, _ := r.List() // Run will tell the error
	there := wireHooks{Hooks: []string{}}
	for _, h := range list {
		there.Hooks = append(there.Hooks, h.Path)
	}
	if err := say(conn, there); err != nil {
		return fmt.Errorf("name the hooks for %s: %w", ev.Name, err)
	}
	var pass wireSkip
	if err := hear(in, &pass); err != nil {
		return fmt.Errorf("read hooks to pass over for %s: %w", ev.Name, err)
	}
	results, err := runWhileThere(ctx, conn, in, func(ctx context.Context) ([]Result, error) {
		return r.Run(ctx, ev, func(path string) bool { return slices.Contains(pass.Skip, path) })
	})
	if err := say(conn, answer(results, err)); err != nil {
		return fmt.Errorf("answer what the hooks for %s said: %w", ev.Name, err)
	}
	return nil
}

// runWhileThere runs f with a context that ends when the other end closes conn.
func runWhileThere(ctx context.Context, conn net.Conn, in io.Reader, f func(context.Context) ([]Result, error)) ([]Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn.SetReadDeadline(time.Time{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		in.Read(make([]byte, 1)) // nothing comes any more but the end
		cancel(errors.New("whoever asked for it went away"))
	}()
	results, err := f(ctx)
	conn.SetReadDeadline(time.Unix(1, 0))
	<-gone
	return results, err
}

func answer(results []Result, err error) wireResults {
	said := wireResults{Results: []wireResult{}}
	if err != nil {
		said.Err = err.Error()
	}
	for _, r := range results {
		w := wireResult{Hook: r.Hook, Outcome: r.Outcome, Code: r.Code, Output: r.Output, Took: r.Took}
		if r.Err != nil {
			w.Err = r.Err.Error()
		}
		said.Results = append(said.Results, w)
	}
	return said
}

// checkWire refuses variables that could make a hook of root's do something
// else, which is what PATH, LD_PRELOAD and a hook's own settings can.
func checkWire(ev Event) error {
	for name := range ev.Env {
		if !strings.HasPrefix(name, wirePrefix) {
			return fmt.Errorf("hook event %s: variable %s is not passed to hooks that run as root, only %s* are: put it into a file that the hook reads", ev.Name, name, wirePrefix)
		}
	}
	return nil
}

func say(conn net.Conn, v any) error {
	conn.SetWriteDeadline(time.Now().Add(time.Minute))
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(data, '\n'))
	return err
}

// hear reads one line.
func hear(in *bufio.Reader, v any) error {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxWire:
			return fmt.Errorf("more than %d bytes in one line", maxWire)
		case err == nil:
			return json.Unmarshal(line, v)
		case errors.Is(err, io.EOF):
			return errors.New("the other end broke off; its journal may say why")
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
