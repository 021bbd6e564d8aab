// Package hooks is what runs after: it finds, vets and runs executables that
// speak acmetool's hook protocol.
package hooks

import (
	"os"
	"time"
)

// An Event is one call of every hook.
type Event struct {
	Name  string            // argv[1], such as "live-updated"
	Args  []string          // argv[2:]
	Stdin []byte            //
	Env   map[string]string // added to the clean environment
	Hold  *os.File          // open in every hook as descriptor 3, so that others see when it has ended; nil means nothing. Neither sudo nor a Remote passes it on
}

// Outcome is how one hook answered an event; it is the label "outcome" of the metrics.
type Outcome string

// The outcomes of a hook.
const (
	OK      Outcome = "ok"      // exit 0
	Skipped Outcome = "skipped" // exit 42: not mine
	Failed  Outcome = "error"   // any other exit, a signal, or it could not be started
	Timeout Outcome = "timeout" // ended by its deadline
	Refused Outcome = "refused" // never started: it or its directory may be changed by others
)

// A Result is what one hook made of one event.
type Result struct {
	Hook    string        // path
	Outcome Outcome       //
	Code    int           // exit status; -1 if it was ended by a signal or never ran
	Output  string        // first and last 16 KiB of stdout and stderr, control characters removed
	Err     error         // nil for OK and Skipped
	Took    time.Duration //
}

// A Hook is a file found in a hook directory.
type Hook struct {
	Path    string
	Refused string // why it will not be run; empty if it will
	Managed bool   // carries the marker of the bundled hooks
}
