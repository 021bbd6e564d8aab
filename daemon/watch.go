package daemon

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A watcher notices changes of what is wanted: of the files in desired/, and of
// conf/target. It looks at names, sizes and times once a second, which works on
// every file system, and for large directories less often, so that it never
// takes more than a hundredth of a processor.
type watcher struct {
	dir   string
	known sum // what the last pass has seen
	last  sum // at the last look
	next  time.Time
}

type sum [sha256.Size]byte

func newWatcher(stateDir string) *watcher {
	now := fingerprint(stateDir)
	return &watcher{dir: stateDir, known: now, last: now}
}

// changed reports whether something differs from what the last pass has seen. A
// change counts when it is the same at two looks: an editor that is not done
// may have left an empty file, which is a target, too.
func (w *watcher) changed(now time.Time) bool {
	if now.Before(w.next) {
		return false
	}
	found := fingerprint(w.dir)
	w.next = now.Add(max(turnEvery-turnEvery/10, 100*time.Since(now)))
	settled := found == w.last
	w.last = found
	return settled && found != w.known
}

// seen takes the last look for what a pass that begins now reads.
func (w *watcher) seen() { w.known = w.last }

// fingerprint sums up what there is; what cannot be read counts by its name.
func fingerprint(stateDir string) sum {
	h := sha256.New()
	add(h, filepath.Join(stateDir, "conf", "target"))
	dir := filepath.Join(stateDir, "desired")
	entries, err := os.ReadDir(dir)
	if err != nil {
		fmt.Fprintf(h, "%v\n", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") { // no targets, but what editors keep
			add(h, filepath.Join(dir, e.Name()))
		}
	}
	return sum(h.Sum(nil))
}

func add(h hash.Hash, path string) {
	info, err := os.Stat(path)
	if err != nil {
		fmt.Fprintf(h, "%q -\n", path)
		return
	}
	fmt.Fprintf(h, "%q %d %d %v\n", path, info.Size(), info.ModTime().UnixNano(), info.Mode())
}
