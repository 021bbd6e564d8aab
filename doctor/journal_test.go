package doctor_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"certd/challenge"
	"certd/doctor"
	"certd/state"
)

// leave journals a record at the place of an earlier process, and returns its ID.
func leave(t *testing.T, store *state.Store, value string, trial bool) string {
	t.Helper()
	r := challenge.DNSRecord{Domain: "example.test", Name: "_acme-challenge.example.test", Value: value, Trial: trial}
	data, err := json.Marshal(r)
	if err == nil {
		err = store.SaveRecord(r.ID(), data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.ID()
}

// What a doctor that was killed has left is removed by the next one, even if that
// tries no record itself and a pass holds the lock; what an order has is left to reconcile.
func TestRecordThatWasLeft(t *testing.T) {
	t.Parallel()
	z := &zone{}
	b, runner := hookBench(t, z, "exit 1")
	store, err := state.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := store.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	order := leave(t, store, "of-an-order", false)
	for range 2 {
		leave(t, store, "of-a-doctor", true)
		leave(t, store, "of-another", true)
		b.want(examine(t, b, runner, "www.example.test"), "dns journal", doctor.OK, "that are removed now: 2")
		if left, err := store.Records(); err != nil || len(left) != 1 || left[order] == nil {
			t.Errorf("the journal has %q, %v, want what the order has, alone", left, err)
		}
	}
	leave(t, store, "of-a-doctor", true)
	if err := os.WriteFile(z.texts, []byte("_acme-challenge.example.test of-a-doctor\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.want(examine(t, b, nil, "www.example.test"), "dns journal", doctor.Warning, "the value of-a-doctor (it is tried again; or remove it by hand)")
	if left, _ := store.Records(); len(left) != 2 {
		t.Errorf("the journal has %q, want also what could not be removed", left)
	}
}

// A doctor that may not write the journal says so, and tries its record; one that
// tries none leaves no trace.
func TestRecordWithoutJournal(t *testing.T) {
	t.Parallel()
	b, runner := hookBench(t, &zone{}, `echo "$CERTD_DNS_RECORD $4" >>FILE`)
	for _, f := range examine(t, b, runner, "www.example.test") {
		if f.Check == "dns journal" {
			t.Errorf("where no record is tried: %+v", f)
		}
	}
	path := filepath.Join(b.dir, "doctor.lock")
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a doctor.lock though no record was tried")
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	found := examine(t, b, runner, "*.example.test")
	b.want(found, "dns journal", doctor.Warning, "doctor.lock")
	b.want(found, "dns-01", doctor.OK, "random record")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	found = examine(t, b, runner, "*.example.test")
	b.want(found, "dns-01", doctor.OK, "random record")
	for _, f := range found {
		if strings.Contains(f.Check, "journal") {
			t.Errorf("a doctor that may write: %+v", f)
		}
	}
}
