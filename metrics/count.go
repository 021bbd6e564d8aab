package metrics

import "time"

// An Exchange is one HTTP request to a CA and how it ended.
type Exchange struct {
	CA        string    // nickname
	Operation string    // directory, nonce, account, order, authz, challenge, finalize, cert, ari, revoke
	Code      string    // HTTP status such as "200", or "error" without an answer
	Problem   string    // type of the problem document such as "rateLimited"; empty without one
	Sent      time.Time // with the monotonic clock
	Received  time.Time // with the monotonic clock
	Date      time.Time // the CA's clock; zero if it did not say, or an intermediary did
	RetryAt   time.Time // until when the CA wants to be left alone; zero if it did not say
}

// Exchange counts a request to a CA, and measures the clock by it.
func (m *Metrics) Exchange(e Exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	operation, code := oneOf(e.Operation, other, operations()), e.Code
	if code != "error" && !isStatus(code) {
		code = other
	}
	m.store.add(1, "certd_acme_requests_total", e.CA, operation, code)
	m.store.observe(e.Received.Sub(e.Sent), "certd_acme_request_duration_seconds", e.CA, operation)
	if e.Problem != "" {
		m.store.add(1, "certd_acme_problems_total", e.CA, oneOf(e.Problem, other, problemTypes()))
	}
	if e.Problem == "badNonce" {
		m.store.add(1, "certd_acme_nonce_retries_total", e.CA)
	}
	if !e.RetryAt.IsZero() {
		m.store.set(seconds(e.RetryAt), e.Received, "certd_acme_retry_after_timestamp_seconds", e.CA)
	}
	if code[0] == '2' {
		m.store.set(seconds(e.Received), e.Received, "certd_acme_last_success_timestamp_seconds", e.CA)
	}
	m.measure(e)
}

// measure takes what an exchange says of the clock.
func (m *Metrics) measure(e Exchange) {
	stepped, measured := m.clock.add(e)
	if stepped {
		m.store.add(1, "certd_clock_steps_total")
	}
	if measured {
		offset, uncertainty := m.clock.estimate()
		m.store.set(offset.Seconds(), e.Received, "certd_clock_offset_seconds", "acme")
		m.store.set(uncertainty.Seconds(), e.Received, "certd_clock_offset_uncertainty_seconds", "acme")
		m.store.set(seconds(e.Received), e.Received, "certd_clock_offset_measured_timestamp_seconds", "acme")
	}
}

// Unreplaced counts an order that the CA did not let replace a certificate
// (RFC 9773 §5).
func (m *Metrics) Unreplaced(ca string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.add(1, "certd_ari_replaces_rejected_total", ca)
}

// An Issuance is one attempt to obtain a certificate, ended.
type Issuance struct {
	CA      string        // nickname
	Reason  string        // new, expiry, ari, revoked, want_changed, manual
	Outcome string        // ok, error, rate_limited, canceled
	Phase   string        // of a failure: order, present, propagate, validate, finalize, download, install
	Cause   string        // of a failure: see docs/metrics.md
	Took    time.Duration //
}

// Issuance counts an attempt.
func (m *Metrics) Issuance(i Issuance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outcome := oneOf(i.Outcome, "error", issuanceOutcomes())
	m.store.add(1, "certd_issuances_total", i.CA, oneOf(i.Reason, "new", reasons()), outcome)
	m.store.observe(i.Took, "certd_issuance_duration_seconds", i.CA, outcome)
	if outcome == "error" || outcome == "rate_limited" {
		m.store.add(1, "certd_issuance_failures_total", i.CA, oneOf(i.Phase, "order", phases()), oneOf(i.Cause, other, causes()))
	}
}

// Phase measures one phase of an attempt, as in Issuance.Phase.
func (m *Metrics) Phase(ca, phase string, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.observe(took, "certd_issuance_phase_duration_seconds", ca, oneOf(phase, "order", phases()))
}

// RateLimitWait counts a wait for a rate limit: "local", one that we keep, or
// "retry_after", one that the CA told.
func (m *Metrics) RateLimitWait(ca, source string, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.knownCA(ca)
	source = oneOf(source, "local", limitSources())
	m.store.add(1, "certd_acme_rate_limit_waits_total", ca, source)
	m.store.add(max(0, wait.Seconds()), "certd_acme_rate_limit_wait_seconds_total", ca, source)
}

// Authorization counts an authorization that ended: valid, reused, invalid or
// expired. typ is its challenge's type.
func (m *Metrics) Authorization(ca, typ, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.add(1, "certd_authorizations_total", ca, oneOf(typ, other, challengeTypes()), oneOf(outcome, "invalid", authorizationOutcomes()))
}

// Challenge counts a request to a responder: served, unknown, bad_request or store_error.
func (m *Metrics) Challenge(typ, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.add(1, "certd_challenge_requests_total", oneOf(typ, other, challengeTypes()), oneOf(result, "bad_request", requestResults()))
}

// Redirect counts a request to a responder that redirects, and that is for no
// challenge: redirected, misdirected or bad_request.
func (m *Metrics) Redirect(result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.add(1, "certd_redirector_requests_total", oneOf(result, "bad_request", redirectResults()))
}

// SelfTest counts a look at our own answer before the CA is told: ok or error.
func (m *Metrics) SelfTest(typ, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store.add(1, "certd_challenge_selftests_total", oneOf(typ, other, challengeTypes()), oneOf(outcome, "error", selfTestOutcomes()))
}

// Presented says that delta more tokens are served now.
func (m *Metrics) Presented(typ string, delta int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.presented[oneOf(typ, other, challengeTypes())] += delta
}

// A Hook is one run of one hook.
type Hook struct {
	Hook    string        // file name, without its directory
	Event   string        // such as live-updated
	Outcome string        // ok, error, timeout, skipped
	Took    time.Duration //
	At      time.Time     // its end
}

// Hook counts a hook's run.
func (m *Metrics) Hook(h Hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	event := oneOf(h.Event, other, hookEvents())
	outcome := oneOf(h.Outcome, "error", hookOutcomes())
	m.store.add(1, "certd_hook_runs_total", h.Hook, event, outcome)
	m.store.observe(h.Took, "certd_hook_duration_seconds", h.Hook, event)
	if outcome == "ok" {
		m.store.set(seconds(h.At), h.At, "certd_hook_last_success_timestamp_seconds", h.Hook, event)
	}
}

// A Reconcile is one pass.
type Reconcile struct {
	Trigger string        // startup, cron, timer, manual, watch, signal
	Outcome string        // ok, error
	At      time.Time     // its end
	Took    time.Duration //
	Errors  int           // what failed: targets, events, broken entries
}

// Reconcile counts a pass.
func (m *Metrics) Reconcile(r Reconcile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outcome := oneOf(r.Outcome, "error", []string{"ok", "error"})
	m.store.add(1, "certd_reconciles_total", oneOf(r.Trigger, "manual", triggers()), outcome)
	m.store.set(seconds(r.At), r.At, "certd_reconcile_last_run_timestamp_seconds")
	if outcome == "ok" {
		m.store.set(seconds(r.At), r.At, "certd_reconcile_last_success_timestamp_seconds")
	}
	m.store.set(r.Took.Seconds(), r.At, "certd_reconcile_last_duration_seconds")
	m.store.set(float64(r.Errors), r.At, "certd_reconcile_last_errors")
}

// seconds is t as Prometheus has it: Unix time, with milliseconds.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
