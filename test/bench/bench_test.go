package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"certd/acme/acmetest"
)

// TestBenchRuns lets the bench measure certd alone, with few certificates: what
// make bench does cannot rot, and no promise that can be counted is broken.
func TestBenchRuns(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "certd")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "certd/cmd/certd").CombinedOutput(); err != nil {
		t.Fatalf("build certd: %v: %s", err, out)
	}
	var text, progress bytes.Buffer
	o := Options{Certd: program, Dir: t.TempDir(), Only: "-", Runs: 1, Batch: 20, Sizes: []int{3}, Patience: time.Hour, Progress: &progress}
	if err := Run(t.Context(), o, &text); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, want := range []string{"# Benchmarks", "| certd | 1", "3 certificates:", "N = 1 |", "N = 20 |", "start in under 30 ms"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for line := range strings.Lines(text.String()) {
		// A CA on a busy machine is looked at once more before it is done: that
		// is not counted here, and is where the page is made.
		if _, cell, ok := strings.Cut(line, "renewal information, N = 20 | "); ok {
			var got, most float64
			if _, err := fmt.Sscanf(cell, "%f of %f", &got, &most); err != nil || got > most+1 {
				t.Errorf("a promise is broken (%v): %s", err, line)
			}
		}
	}
	if strings.Contains(text.String(), "Not measured") || t.Failed() {
		t.Errorf("the page:\n%s\n%s", text.String(), progress.String())
	}
}

// TestClientThatIsMissing: what cannot be measured has a reason, and is no number.
func TestClientThatIsMissing(t *testing.T) {
	t.Parallel()
	m := &match{Options: Options{Batch: 100, Sizes: []int{100}, Progress: io.Discard}, arena: &arena{dir: "/bench"}}
	m.rows = []*row{{client: &client{name: "certd", program: "/bin/certd"}}, {client: &client{name: "other"}}, {client: &client{name: "picky", program: "x", system: true}}}
	m.rows[0].nothing = map[int]cell{100: {cost: cost{wall: time.Second, cpu: time.Second}, n: 100, runs: 1}}
	m.each(t.Context(), "anything", func(_ context.Context, r *row) error { return r.usable(m.arena) })
	var text bytes.Buffer
	if err := m.report(&text, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| other | - | - | - | - | - |", "- other: not installed", "- picky: trusts only the system's CAs", "| certd | 1.0 | 1.0 | - | 0 | 1 |"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, text.String())
		}
	}
}

// TestMedian: the middle one, by each measure, whatever the order.
func TestMedian(t *testing.T) {
	t.Parallel()
	got := median([]cost{{wall: 5, cpu: 1, memory: 9}, {wall: 1, cpu: 3, memory: 8}, {wall: 3, cpu: 2, memory: 1}})
	if got.wall != 3 || got.cpu != 2 || got.memory != 8 {
		t.Errorf("median %+v, want 3, 2 and 8", got)
	}
	if two := median([]cost{{wall: 10}, {wall: 20}}); two.wall != 15 {
		t.Errorf("median of 10 and 20: %d, want 15", two.wall)
	}
	c := cell{cost: cost{wall: 10 * time.Second, requests: make([]acmetest.Request, 84)}, n: 12}
	if c.scaled(100) != 10*time.Second*100/12 || requests(c) != "7.0 (of 12)" {
		t.Errorf("12 certificates in 10 s are 100 in %s with %s requests", c.scaled(100), requests(c))
	}
}

// TestUnknownChallengesAreLeftOut, and nothing else of an authorization is.
func TestUnknownChallengesAreLeftOut(t *testing.T) {
	t.Parallel()
	const authz = `{"status":"pending","challenges":[{"type":"dns-persist-01"},{"type":"http-01","token":"abc"}]}`
	handler := withoutUnknown(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Replay-Nonce", "n")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, authz)
	}))
	for path, left := range map[string]int{"/authZ/1": 1, "/my-order/1": 2} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		var got struct {
			Status     string
			Challenges []struct{ Type string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusCreated || w.Header().Get("Replay-Nonce") != "n" || got.Status != "pending" || len(got.Challenges) != left {
			t.Errorf("%s: status %d, header %v, %+v; want %d challenges and the rest as it was", path, w.Code, w.Header(), got, left)
		}
	}
}
