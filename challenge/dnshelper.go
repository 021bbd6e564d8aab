package challenge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"certd/acme"
)

// Bounds of certd-dns.
const (
	helperName     = "certd-dns"
	presentTimeout = 3 * time.Minute
	cleanUpTimeout = time.Minute
	describeLimit  = 30 * time.Second
	helperGrace    = 40 * time.Second // beyond the time it was given, or after certd was killed: to undo what came late
	helperCut      = 5 * time.Second  // after a cancellation
	helpersAtOnce  = 8
	maxReply       = 256 << 10 // bytes of stdout
	maxComplaint   = 64 << 10  // bytes of stderr that are kept
)

// A Helper runs certd-dns, one process for each request: with nothing in its
// environment but PATH, HOME and what the target's file says, in a process
// group of its own that is ended whole, and with bounds of time, memory and
// output. Its zero value looks for the program beside certd, then in PATH.
type Helper struct {
	Path      string   // of the program; empty means to look for it
	Owner     int      // user who may have files of credentials as well, if this process is root: that of the state directory; 0 means nobody
	Resolvers []string // "host:port" of the DNS servers that know the zones; empty means the system's

	busy     sync.Once
	tickets  chan struct{}
	patience time.Duration // in place of helperGrace; zero means that
}

// HelperOf returns a Helper for a state directory: for root, files of credentials
// may be its owner's.
func HelperOf(stateDir string) *Helper {
	h := &Helper{}
	if info, err := os.Stat(stateDir); err == nil {
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			h.Owner = int(sys.Uid)
		}
	}
	return h
}

// helperRequest and helperAnswer are the contract with certd-dns; the meaning of
// the fields is in cmd/certd-dns/request.go.
type helperRequest struct {
	Action           string          `json:"action"`
	Provider         string          `json:"provider"`
	Domain           string          `json:"domain"`
	Name             string          `json:"name"`
	Value            string          `json:"value"`
	KeyAuthorization string          `json:"key_authorization"`
	Timeout          int             `json:"timeout_seconds"`
	Resolvers        []string        `json:"resolvers,omitempty"`
	Memory           json.RawMessage `json:"memory,omitempty"`
	Watch            bool            `json:"watch"`
}

type helperAnswer struct {
	OK         bool            `json:"ok"`
	Error      string          `json:"error"`
	Variable   string          `json:"variable"`
	Timeout    int             `json:"timeout_seconds"`
	Interval   int             `json:"interval_seconds"`
	Sequential bool            `json:"sequential"`
	Pause      int             `json:"pause_seconds"`
	Memory     json.RawMessage `json:"memory"`
	Perhaps    bool            `json:"perhaps"`
	Malformed  bool            `json:"malformed"`
}

func (h *Helper) describe(ctx context.Context, r DNSRecord) (Terms, error) {
	a, err := h.ask(ctx, "describe", r, nil, describeLimit)
	if err != nil {
		return Terms{}, err
	}
	const most = 3600 // seconds
	second := func(n int) time.Duration { return time.Duration(min(max(n, 0), most)) * time.Second }
	return Terms{Limit: second(a.Timeout), Interval: second(a.Interval), Sequential: a.Sequential, Pause: second(a.Pause)}, nil
}

// present and cleanUp give hold, which may be nil, to the process: it is closed
// when nobody is at work with the record any more, even if this process is killed.
func (h *Helper) present(ctx context.Context, r DNSRecord, hold *os.File) (memory []byte, err error) {
	r.Memory = nil // of an earlier one, which it would be undone with
	a, err := h.ask(ctx, "present", r, hold, presentTimeout)
	return a.Memory, err
}

func (h *Helper) cleanUp(ctx context.Context, r DNSRecord, hold *os.File) error {
	_, err := h.ask(ctx, "cleanup", r, hold, cleanUpTimeout)
	return err
}

// ask has one request answered. Where it is not known what became of it, the error
// is a perhapsError.
func (h *Helper) ask(ctx context.Context, action string, r DNSRecord, hold *os.File, limit time.Duration) (helperAnswer, error) {
	var a helperAnswer
	path, err := h.find()
	if err != nil {
		return a, unfit{err}
	}
	env, err := readEnvFile(r.EnvFile, h.Owner)
	if err != nil {
		return a, unfit{fmt.Errorf("request.challenge.dns-env-file: %w", err)}
	}
	request, err := json.Marshal(helperRequest{Action: action, Provider: r.Provider, Domain: r.Domain, Name: r.Name, Value: r.Value,
		KeyAuthorization: r.KeyAuthorization, Timeout: int(limit.Seconds()), Resolvers: h.Resolvers, Memory: r.Memory, Watch: true})
	if err != nil {
		return a, err
	}
	h.busy.Do(func() { h.tickets = make(chan struct{}, helpersAtOnce) })
	select {
	case h.tickets <- struct{}{}:
		defer func() { <-h.tickets }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	out, err := h.run(ctx, path, env, request, hold, limit+cmp.Or(h.patience, helperGrace))
	if err != nil {
		return a, perhapsError{fmt.Errorf("%s %s: %w", helperName, r.Provider, err)}
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return a, perhapsError{fmt.Errorf("%s %s: its answer is no JSON document", helperName, r.Provider)}
	}
	if !a.OK {
		text := acme.Sanitize(env.hide(a.Error))
		if a.Variable != "" && r.EnvFile == "" {
			text += "; set request.challenge.dns-env-file to a file with NAME=value in each line"
		}
		if a.Variable != "" || a.Malformed {
			return a, unfit{errors.New(text)}
		}
		if a.Perhaps || len(a.Memory) > 0 {
			return a, perhapsError{errors.New(text)}
		}
		return a, errors.New(text)
	}
	return a, nil
}

// An unfit error stays until somebody mends it: the program, the file, a variable
// or the provider is missing or wrong.
type unfit struct{ error }

func (u unfit) Unwrap() error { return u.error }

// find returns the program's path.
func (h *Helper) find() (string, error) {
	if h.Path != "" {
		return h.Path, nil
	}
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			beside := filepath.Join(filepath.Dir(self), helperName)
			if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return beside, nil
			}
		}
	}
	path, err := exec.LookPath(helperName)
	if err != nil {
		return "", fmt.Errorf("the program %s is neither beside certd nor in PATH: the package certd has it; from source, make build makes bin/%s, to be copied to where certd is", helperName, helperName)
	}
	return path, nil
}

// environ is what certd-dns finds beside the target's own variables.
func environ() []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return []string{"PATH=" + path, "HOME=/", "GOMEMLIMIT=256MiB"}
}

// run starts the program, writes request, and returns what it prints to stdout.
// Whatever it does, it and its process group are gone after limit, or shortly
// after the end of ctx.
func (h *Helper) run(ctx context.Context, path string, env environment, request []byte, hold *os.File, limit time.Duration) ([]byte, error) {
	var out, complaint bounded
	out.limit, complaint.limit = maxReply, maxComplaint
	out.full = make(chan struct{})
	cmd := exec.Command(path)
	cmd.Env, cmd.Dir = append(environ(), env.vars...), "/"
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: env.as}
	if hold != nil {
		cmd.ExtraFiles = []*os.File{hold}
	}
	cmd.WaitDelay = time.Second // for pipes that its children leave open
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, startError(path, err)
	}
	confine(cmd.Process.Pid) // it waits for the request meanwhile
	exited := make(chan error, 1)
	go func() {
		awaitExit(cmd.Process.Pid)
		endGroup(cmd.Process.Pid) // before it is reaped: the number is still its own
		exited <- cmd.Wait()
	}()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = stdin.Write(append(request, '\n')) // a program that does not read it gives no answer
	}()
	err = h.await(ctx, cmd, stdin, exited, out.full, limit)
	<-written
	switch {
	case out.more:
		return nil, fmt.Errorf("it answered more than %d bytes", maxReply)
	case err != nil && len(out.kept) == 0:
		return nil, explainExit(err, env.hide(string(complaint.kept)))
	case len(out.kept) == 0:
		return nil, explainExit(errors.New("it gave no answer"), env.hide(string(complaint.kept)))
	}
	return out.kept, nil
}

// await waits for the program's end, and brings it about if need be. Closing
// stdin tells it that nobody waits any more. One that has said too much says
// nothing that counts: it is ended at once.
func (h *Helper) await(ctx context.Context, cmd *exec.Cmd, stdin io.Closer, exited <-chan error, full <-chan struct{}, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var why error
	select {
	case err := <-exited:
		stdin.Close()
		return err
	case <-timer.C:
		why = fmt.Errorf("ended after %v without an answer", limit)
	case <-full:
	case <-ctx.Done():
		why = ctx.Err()
	}
	stdin.Close()
	if ctx.Err() != nil {
		cut := time.NewTimer(helperCut)
		defer cut.Stop()
		select {
		case <-exited:
			return why
		case <-cut.C:
		}
	}
	endGroup(cmd.Process.Pid)
	<-exited
	return why
}

// explainExit adds to how a program ended what it complained about: the message
// of a panic, or else its last line.
func explainExit(err error, complaint string) error {
	last := ""
	for line := range strings.Lines(complaint) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if last = line; strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "runtime: out of memory") {
			break
		}
	}
	if last == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, acme.Sanitize(last))
}

func startError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s may not be run: %w", path, cause(err))
	}
	return err
}

// bounded keeps the first bytes written to it.
type bounded struct {
	limit int
	kept  []byte
	more  bool          // than there was room for
	full  chan struct{} // closed as soon as there is more; nil if nobody waits for that
}

// Write takes everything and keeps what there is room for.
func (b *bounded) Write(p []byte) (int, error) {
	room := min(b.limit-len(b.kept), len(p))
	if room < len(p) && !b.more {
		b.more = true
		if b.full != nil {
			close(b.full)
		}
	}
	b.kept = append(b.kept, p[:room]...)
	return len(p), nil
}
