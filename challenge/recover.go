package challenge

import (
	"fmt"

	"certd/acme"
)

// recovered makes a panic of the calling goroutine the error at err: one name's
// failure, and not the process's. It must be deferred itself.
func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s panicked: %s", what, acme.Sanitize(fmt.Sprint(p)))
	}
}
