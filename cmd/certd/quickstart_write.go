package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"certd/acme"
	"certd/challenge"
	"certd/config"
	"certd/daemon"
	"certd/hooks"
	"certd/packaging"
	"certd/state"
)

// A record is what quickstart did.
type record struct {
	files   []string // "path: action", unchanged ones left out
	ran     []string // commands
	todo    []string // what is left to the administrator
	errs    []error
	account daemon.Registered
}

func (r *record) add(path, action string) {
	if action != packaging.Unchanged {
		r.files = append(r.files, path+": "+action)
	}
}

// carryOut does what was decided: the account first, since it can fail; then
// conf/, hooks and units, which are right also if done again.
func (a *app) carryOut(ctx context.Context, s *setup) (*record, error) {
	conf, err := s.conf()
	if err != nil {
		return nil, err
	}
	if err := s.services.check(s); err != nil {
		return nil, &daemon.ConfigError{Err: fmt.Errorf("quickstart: %w; nothing was changed", err)}
	}
	lock, err := daemon.Lock(ctx, s.store, a.editWait(), a.log)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	r := &record{}
	known := s.account
	log := a.log
	if !a.batch && isTerminal(a.err) {
		log = nil // the person has just agreed to what it would tell
	}
	options := daemon.Options{Store: s.store, Log: log, UserAgent: s.userAgent,
		Answers: daemon.Answers{Contact: s.answers["enter-email"], Refused: s.answers["agreement"] == "no"}}
	if r.account, err = daemon.Register(ctx, options, s.image.ca(s.ca)); err != nil {
		return nil, fmt.Errorf("quickstart: %w; conf/ is as it was", err)
	}
	if !known {
		r.add(s.store.Path("accounts", r.account.ID), packaging.Written)
	}
	if err := s.agree(r, known); err != nil {
		return nil, err
	}
	for _, file := range []string{"certd.yaml", "target", "responses"} {
		if err := s.put(r, file, conf[file]); err != nil {
			return nil, err
		}
	}
	if s.answers["choose-method"] == challenge.MethodWebroot {
		r.errs = append(r.errs, s.webroot(ctx, r))
	}
	r.errs = append(r.errs, s.installHooks(r), s.services.install(ctx, s, r))
	r.todo = append(r.todo, s.dnsTodo()...)
	r.todo = append(r.todo, s.image.missing(s.ca.Bundle, s.ca.EABHMACFile)...)
	return r, nil
}

// agree keeps with the account which terms of service were agreed to: new ones of
// the CA, or those of an account whose key was all there was.
func (s *setup) agree(r *record, known bool) error {
	if s.answers["agreement"] != "yes" {
		return nil
	}
	account, err := s.store.Account(s.ca.Directory)
	if err != nil {
		return fmt.Errorf("quickstart: %w", err)
	}
	if account.Terms == s.directory.Terms {
		return nil
	}
	account.Terms = s.directory.Terms
	if known {
		r.add(s.store.Path("accounts", account.ID), packaging.Updated)
	}
	return s.store.SaveAccount(account)
}

// conf returns the files of conf/ as they shall be.
func (s *setup) conf() (map[string][]byte, error) {
	out := make(map[string][]byte)
	for file, edit := range map[string]func([]byte) ([]byte, error){
		"certd.yaml": s.editSettings, "target": s.editTarget,
		"responses": func([]byte) ([]byte, error) { return s.saved().file() },
	} {
		data, err := s.read(file)
		if err == nil {
			out[file], err = edit(data)
		}
		if err != nil {
			return nil, &daemon.ConfigError{Err: fmt.Errorf("quickstart: %w", err)}
		}
	}
	return out, nil
}

// saved are the answers for conf/responses: the new ones over those of before.
// A CA that is not built in is there with its URL, so that the file says all.
func (s *setup) saved() responses {
	out := maps.Clone(s.old)
	maps.Copy(out, s.answers)
	delete(out, "enter-directory-url")
	if ca, err := new(config.Settings).CA(s.ca.Name); err != nil || ca.Directory != s.ca.Directory {
		out["choose-server"] = s.ca.Directory
	}
	if out["webroot-path-unlikely"] == "no" {
		delete(out, "webroot-path-unlikely") // the path says it now
	}
	return out
}

func (s *setup) read(file string) ([]byte, error) {
	data, err := os.ReadFile(s.store.Path("conf", file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// put writes a file of conf/, if it is not that already.
func (s *setup) put(r *record, file string, data []byte) error {
	old, err := s.read(file)
	if err != nil {
		return err
	}
	if bytes.Equal(old, data) {
		return nil
	}
	if err := s.store.WriteConf(file, data); err != nil {
		return err
	}
	action := packaging.Updated
	if old == nil {
		action = packaging.Written
	}
	r.add(s.store.Path("conf", file), action)
	return nil
}

// webroot makes the directory for challenge files and tries it out.
func (s *setup) webroot(ctx context.Context, r *record) error {
	path := s.image.on(s.answers["webroot-path"])
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(path); err != nil {
			return fmt.Errorf("make webroot: %w", err)
		}
		r.add(path, packaging.Written)
	}
	token := rand.Text()
	way := &challenge.Webroot{Dirs: []string{path}}
	id, ch := acme.NewIdentifier("certd.invalid"), acme.Challenge{Type: challenge.TypeHTTP01, Token: token, KeyAuthorization: token + ".test"}
	return errors.Join(way.Present(ctx, id, ch), way.CleanUp(ctx, id, ch))
}

// makeDir makes a directory and its missing parents with mode 0755, for the web
// server has to get through, whatever the umask.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// The states of a bundled hook.
const (
	hookAbsent = iota
	hookOn
	hookOff // an empty file, as acmetool's users turn hooks off
)

// hook says in which state a bundled hook is.
func (s *setup) hook(name string) int {
	info, err := os.Stat(filepath.Join(s.hookDir, name))
	switch {
	case err != nil:
		return hookAbsent
	case info.Size() == 0 || info.Mode().Perm()&0o111 == 0:
		return hookOff
	}
	return hookOn
}

// installHooks installs the bundled hooks that were asked for, and empties those
// of its own that are not wanted any more; one that a package has installed in
// another directory is hidden by an empty file.
func (s *setup) installHooks(r *record) error {
	wanted := map[string]bool{
		"reload":  s.answers["install-reload-hook"] == "yes",
		"haproxy": s.answers["install-haproxy-script"] == "yes",
	}
	if _, asked := s.answers["install-haproxy-script"]; !asked { // it does nothing where there is no HAProxy
		wanted["haproxy"] = wanted["reload"]
	}
	var unwanted error
	if list, err := (&hooks.Runner{Dirs: s.hookDirs}).List(); err == nil {
		for _, h := range list {
			want, bundled := wanted[filepath.Base(h.Path)]
			_, asked := s.answers[map[string]string{"reload": "install-reload-hook", "haproxy": "install-haproxy-script"}[filepath.Base(h.Path)]]
			if bundled && asked && !want && h.Managed {
				off := filepath.Join(s.hookDir, filepath.Base(h.Path)) // hides the one of a package
				unwanted = errors.Join(unwanted, state.ReplaceFile(off, nil, 0o644))
				r.add(off, "turned off")
			}
		}
	}
	if !wanted["reload"] && !wanted["haproxy"] {
		return unwanted
	}
	done, err := hooks.Install(s.hookDir, func(path string, data []byte, perm fs.FileMode) error {
		if !wanted[filepath.Base(path)] {
			return nil
		}
		return state.ReplaceFile(path, data, perm)
	})
	for _, i := range done {
		if wanted[filepath.Base(i.Path)] {
			r.add(i.Path, i.Action)
		}
	}
	return errors.Join(unwanted, err)
}

// printRecord says what was done, and what comes next.
func (a *app) printRecord(s *setup, r *record) {
	fmt.Fprintln(a.out)
	if len(r.files)+len(r.ran) == 0 {
		fmt.Fprintln(a.out, "Nothing had to be changed.")
	}
	for _, f := range r.files {
		fmt.Fprintln(a.out, f)
	}
	for _, c := range r.ran {
		fmt.Fprintln(a.out, "ran: "+c)
	}
	if text := s.snippet(r.account.Thumbprint); text != "" {
		fmt.Fprintf(a.out, "\n%s\n", text)
	}
	if len(r.todo) > 0 {
		fmt.Fprintln(a.out, "\nLeft to you:")
		for _, t := range r.todo {
			if isTerminal(a.out) && strings.Contains(t, ": ") { // words, and no command to copy
				t = strings.TrimSpace(strings.Join(wrap("  "+t, "    "), "\n"))
			}
			fmt.Fprintln(a.out, "  "+t)
		}
	}
	command, dir, when := "certd", s.image.inside(s.store.Dir()), ""
	if dir != standardStateDir {
		command += " --state " + dir
	}
	if os.Getenv("ACME_HOOKS_DIR") == "" { // else the next command has it as well
		for _, hooks := range s.services.hookDirs {
			if full, err := filepath.Abs(hooks); err == nil {
				command += " --hooks " + s.image.inside(full)
			}
		}
	}
	if s.image != "" {
		when = ", once the system in " + string(s.image) + " runs"
	}
	fmt.Fprintf(a.out, "\nNext%s:\n  %s want www.example.com\n  %s status\n", when, command, command)
	text := "Keys and certificates: " + dir + "/live/www.example.com/{privkey,fullchain}"
	fmt.Fprintf(a.out, "\n%s\n", strings.Join(wrap(text, ""), "\n"))
	if line := s.crontab(); line != "" {
		fmt.Fprintf(a.out, "\nFor your crontab (crontab -e), since only root can install units:\n  %s\n", strings.TrimSpace(line))
	}
}

// warn tells, on standard error, what will not work when certd runs by itself.
func (a *app) warn(s *setup) {
	for _, u := range s.services.unseen(s) {
		lines := []string{"warning: " + u.String() + "."}
		if isTerminal(a.err) {
			lines = wrap(lines[0], "    ")
		}
		fmt.Fprintln(a.err, strings.Join(lines, "\n"))
	}
}

// crontab is the line for a user who may not install anything.
func (s *setup) crontab() string {
	if s.services.may() {
		return ""
	}
	o, err := s.services.options(s)
	if err != nil {
		return ""
	}
	line, err := packaging.CronLine(o)
	if err != nil {
		return ""
	}
	return line
}
