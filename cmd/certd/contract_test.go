package main

import (
	"reflect"
	"strings"
	"testing"

	"certd/daemon"
	"certd/plan"
)

// TestJSONContract: what programs read of status, plan and reconcile keeps its
// names and their order.
func TestJSONContract(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		row  any
		want string
	}{
		{"status", statusRow{}, "name label state ca key_type profile not_before not_after renew_at reason last_attempt last_error failures next_attempt hooks_pending"},
		{"plan", planRow{}, "target names action reason at"},
		{"reconcile", resultRow{}, "target names action outcome error took_seconds"},
	} {
		var got []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(tt.row)) {
			got = append(got, f.Tag.Get("json")) // with ",omitempty", which would make absent what is to be null
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s -o json has\n%s, want\n%s", tt.name, text, tt.want)
		}
	}
	states := []daemon.State{daemon.Ready, daemon.Due, daemon.Issuing, daemon.Failing, daemon.Missing, daemon.Expired}
	kinds := []plan.Kind{plan.Keep, plan.Order, plan.Resume, plan.Relink, plan.Wait}
	if got := words(states) + "; " + words(kinds); got != "ready due issuing failing missing expired; keep order resume relink wait" {
		t.Errorf("states and actions are %s", got)
	}
}

func words[T ~string](list []T) string {
	var out []string
	for _, w := range list {
		out = append(out, string(w))
	}
	return strings.Join(out, " ")
}
