package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"certd/acme"
	"certd/config"
	"certd/state"
)

// most is how many entries of a kind are told one by one.
const most = 10

// state looks at the state directory, and reports whether it can be used.
func (r *run) state() bool {
	const check = "state directory"
	store, err := state.Open(r.StateDir)
	if err != nil {
		remedy := "mend what it says"
		switch {
		case errors.Is(err, fs.ErrPermission):
			remedy = "run certd doctor as the user that certd runs as, or as root"
		case isUnsafe(err):
			remedy = "check what is in it, then take the permission away: chmod go-w"
		}
		r.add(check, "", Failure, oneLine(err), remedy)
		return false
	}
	r.store = store
	info, err := os.Stat(store.Dir())
	if errors.Is(err, fs.ErrNotExist) {
		r.add(check, "", Warning, store.Dir()+" does not exist yet", "certd quickstart creates it; or is --state mistyped?")
	} else if err != nil {
		r.add(check, "", Failure, oneLine(err), "run certd doctor as the user that certd runs as, or as root")
		return false
	} else {
		r.add(ownership(store.Dir(), info, os.Geteuid()))
		r.room(store.Dir())
	}
	if r.snapshot, err = store.Snapshot(); err != nil {
		r.add(check, "", Failure, oneLine(err), "run certd doctor as the user that certd runs as, or as root")
		return false
	}
	r.entries()
	return true
}

func isUnsafe(err error) bool {
	_, ok := errors.AsType[*state.UnsafeError](err)
	return ok
}

// ownership judges whose the state directory is, as seen by the user euid. Its
// results are the arguments of add.
func ownership(dir string, info fs.FileInfo, euid int) (check, name string, result Result, detail, remedy string) {
	check = "state directory"
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return check, "", OK, dir, ""
	}
	owner := int(st.Uid)
	detail = fmt.Sprintf("%s belongs to user %d, mode %04o", dir, owner, info.Mode().Perm())
	if owner != euid && euid != 0 {
		return check, "", Warning, detail + fmt.Sprintf("; this is user %d, who may not see or do what certd can", euid),
			"run certd doctor as the user that certd runs as"
	}
	return check, "", OK, detail, ""
}

// entries tells what in the state directory is wrong.
func (r *run) entries() {
	if wide := r.snapshot.TooWide; len(wide) > 0 {
		r.add("private keys", "", Failure, "everybody may read "+few(wide),
			"the next certd reconcile closes them; whoever read one may use it, so think about new keys")
	}
	for i, b := range r.snapshot.Broken {
		if i == most {
			r.add("broken entries", "", Failure, fmt.Sprintf("%d more", len(r.snapshot.Broken)-most), "mend these first")
			break
		}
		if b.Live != "" {
			r.add("broken entries", b.Path, Warning, oneLine(b.Err), "the next certd reconcile sets a wanted link right")
			continue
		}
		r.add("broken entries", b.Path, Failure, oneLine(b.Err), "mend it, or move it out of the state directory")
	}
	failed := slices.DeleteFunc(slices.Clone(r.snapshot.Pending), func(e state.Event) bool { return e.LastError == "" }) // else it is only new
	if n := len(failed); n > 0 {
		e := failed[0]
		r.add("hook events", "", Warning, fmt.Sprintf("%d not delivered to every hook, the oldest %s: %s", n, e.Event, e.LastError),
			"mend the hook; certd reconcile tries again")
	}
}

// few lists the first of many.
func few(list []string) string {
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// configuration reads conf/ and desired/; afterwards targets is nil if conf/ has
// a mistake, as nothing is certain then.
func (r *run) configuration() {
	const check, remedy = "configuration", "correct the file; docs/configuration.md has every key"
	settings, err := config.LoadSettings(r.store.Dir())
	if err != nil {
		r.add(check, "", Failure, oneLine(err), remedy)
	}
	targets, errTargets := config.LoadTargets(r.store.Dir())
	if errTargets != nil {
		r.add(check, "", Failure, oneLine(errTargets), remedy)
	}
	if err != nil || errTargets != nil {
		return
	}
	r.settings, r.targets = settings, targets
	for _, err := range targets.Errors {
		r.add("target", "", Failure, oneLine(err), "correct the file; nothing of it is renewed until then")
	}
	bad := false
	for _, t := range append(targets.Targets[:len(targets.Targets):len(targets.Targets)], targets.Default) {
		if err := errors.Join(settings.CheckCAs(t), state.Files(t.Files).Check()); err != nil {
			bad = true
			r.add("target", t.File, Failure, oneLine(err), "correct the file")
		}
	}
	if len(targets.Errors) == 0 && !bad {
		r.add(check, "", OK, fmt.Sprintf("targets: %d, without mistakes", len(targets.Targets)), "")
	}
}

// hooks vets what would run after a change.
func (r *run) hooks() {
	if r.Hooks == nil {
		return
	}
	list, err := r.Hooks.List()
	if err != nil {
		r.add("hooks", "", Failure, oneLine(err), "do as it says; no hook of that directory runs until then")
	}
	var good []string
	for _, h := range list {
		if h.Refused != "" {
			r.add("hooks", h.Path, Failure, "will not be run: "+h.Refused, "do as it says, or remove the hook")
			continue
		}
		good = append(good, h.Path)
	}
	switch {
	case len(list) == 0 && err == nil:
		r.add("hooks", "", Warning, "there are none in "+strings.Join(r.Hooks.Dirs, ", ")+", so that nothing reloads your servers", "certd hooks install")
	case len(good) > 0:
		r.add("hooks", "", OK, few(good), "")
	}
}

// attempts tells what failed last, and limits that are still on.
func (r *run) attempts() {
	now := time.Now()
	files := map[string]*config.Target{}
	for _, t := range r.targets.Targets {
		files[t.File] = t
	}
	for _, file := range slices.Sorted(maps.Keys(r.snapshot.Attempts)) {
		at, t := r.snapshot.Attempts[file], files[file]
		if t == nil || at.Failures == 0 || at.Digest != t.Digest() || !r.concerns(t) {
			continue
		}
		when, remedy := "the next run of certd reconcile tries again", "if all else here is ok, it may have been mended since: certd reconcile"
		if at.NextAttempt.After(now) {
			when = "next try " + at.NextAttempt.UTC().Format(time.RFC3339)
			remedy = "if all else here is ok, wait for it, or certd reconcile --force " + file
		}
		if acme.Class(at.Class) == acme.ClassWait {
			remedy = "the CA wants to be left alone until then; forcing it makes it later"
		}
		r.add("limits", file, Warning, fmt.Sprintf("failures in a row: %d; %s; last: %s", at.Failures, when, at.LastError), remedy)
	}
}

// concerns reports whether a target has one of the names that are looked at.
func (r *run) concerns(t *config.Target) bool {
	return len(r.Names) == 0 || slices.ContainsFunc(t.RequestNames, func(name string) bool { return slices.Contains(r.Names, name) })
}
