package main

import (
	"sync"

	"certd/acme/acmetest"
)

// running holds the CA of each script by its work directory; scripts run in
// parallel and testscript's commands share nothing else.
var running runningCAs

type runningCAs struct{ byDir sync.Map }

func (r *runningCAs) put(dir string, ca *acmetest.CA) { r.byDir.Store(dir, ca) }
func (r *runningCAs) remove(dir string)               { r.byDir.Delete(dir) }
func (r *runningCAs) get(dir string) *acmetest.CA {
	ca, _ := r.byDir.Load(dir)
	return ca.(*acmetest.CA)
}
