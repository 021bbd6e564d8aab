package metrics

import "slices"

// kind is the type of a family, in Prometheus' words.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// A family is one metric: all series of one name. Names, types, labels, help
// texts and buckets are a contract with those who graph and alert on them.
type family struct {
	name    string
	kind    kind
	help    string
	labels  []string
	buckets []float64 // upper bounds of a histogram, without +Inf
	kept    bool      // in Dump: it is counted or measured, and not read from the state
}

// catalogue lists every family this package can write.
func catalogue() []family {
	return slices.Concat(ownFamilies(), certificateFamilies(), issuanceFamilies(), challengeFamilies(), hookFamilies(),
		reconcileFamilies(), acmeFamilies(), clockFamilies())
}

// The buckets of the histograms, in seconds.
func issuanceBuckets() []float64 {
	return []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800}
}
func requestBuckets() []float64 { return []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30} }
func hookBuckets() []float64    { return []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300} }

func ownFamilies() []family {
	return []family{
		{name: "certd_build_info", kind: gauge, labels: []string{"version", "revision", "goversion"},
			help: "Build of certd that wrote these metrics, always 1."},
		{name: "certd_config_info", kind: gauge, labels: []string{"digest"},
			help: "First 8 hex digits of the effective configuration's hash, always 1 (shows drift across a fleet)."},
		{name: "certd_config_last_reload_successful", kind: gauge,
			help: "1 if the last load of the configuration succeeded."},
		{name: "certd_config_last_reload_success_timestamp_seconds", kind: gauge, kept: true,
			help: "When the configuration was last loaded without error."},
		{name: "certd_targets", kind: gauge, labels: []string{"state"},
			help: "Wants by state."},
	}
}

func certificateFamilies() []family {
	name, nameCA := []string{"name"}, []string{"name", "ca"}
	return []family{
		{name: "certd_certificate_info", kind: gauge, labels: []string{"name", "ca", "key_type", "profile"},
			help: "Static facts of the live certificate, always 1."},
		{name: "certd_certificate_not_before_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "notBefore of the live leaf."},
		{name: "certd_certificate_not_after_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "notAfter of the live leaf."},
		{name: "certd_certificate_chain_not_after_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "Earliest notAfter in the installed chain."},
		{name: "certd_certificate_renewal_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "Chosen moment of the next renewal (ARI pick or lifetime fraction)."},
		{name: "certd_certificate_ari_window_start_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "Bounds of the suggested window; absent without ARI."},
		{name: "certd_certificate_ari_window_end_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "Bounds of the suggested window; absent without ARI."},
		{name: "certd_certificate_ari_next_check_timestamp_seconds", kind: gauge, labels: nameCA,
			help: "When the window is fetched again (Retry-After)."},
		{name: "certd_certificate_last_attempt_timestamp_seconds", kind: gauge, labels: name,
			help: "End of the last issuance attempt."},
		{name: "certd_certificate_last_attempt_successful", kind: gauge, labels: name,
			help: "1 if that attempt gave a certificate."},
		{name: "certd_certificate_next_attempt_timestamp_seconds", kind: gauge, labels: name,
			help: "Earliest next attempt after back-off."},
		{name: "certd_certificate_consecutive_failures", kind: gauge, labels: name,
			help: "Failed attempts since the last success."},
		{name: "certd_certificate_installed_timestamp_seconds", kind: gauge, labels: name,
			help: "When live/ was last switched."},
	}
}

func issuanceFamilies() []family {
	ca := []string{"ca"}
	return []family{
		{name: "certd_issuances_total", kind: counter, kept: true, labels: []string{"ca", "reason", "outcome"},
			help: "Issuance attempts ended."},
		{name: "certd_issuance_failures_total", kind: counter, kept: true, labels: []string{"ca", "phase", "cause"},
			help: "Failed attempts by cause."},
		{name: "certd_issuance_duration_seconds", kind: histogram, kept: true, labels: []string{"ca", "outcome"},
			help: "Whole attempt.", buckets: issuanceBuckets()},
		{name: "certd_issuance_phase_duration_seconds", kind: histogram, kept: true, labels: []string{"ca", "phase"},
			help: "One phase.", buckets: issuanceBuckets()},
		{name: "certd_orders_in_flight", kind: gauge, labels: ca,
			help: "Orders started and not terminal."},
		{name: "certd_order_oldest_start_timestamp_seconds", kind: gauge, labels: ca,
			help: "Start of the oldest open order, 0 if none."},
		{name: "certd_authorizations_total", kind: counter, kept: true, labels: []string{"ca", "type", "outcome"},
			help: "Authorizations ended."},
	}
}

func challengeFamilies() []family {
	return []family{
		{name: "certd_challenge_requests_total", kind: counter, kept: true, labels: []string{"type", "result"},
			help: "Requests to the responder."},
		{name: "certd_redirector_requests_total", kind: counter, kept: true, labels: []string{"result"},
			help: "Requests that are for no challenge, to a responder that redirects."},
		{name: "certd_challenges_presented", kind: gauge, labels: []string{"type"},
			help: "Tokens now served."},
		{name: "certd_challenge_selftests_total", kind: counter, kept: true, labels: []string{"type", "outcome"},
			help: "Self-checks before telling the CA."},
	}
}

func hookFamilies() []family {
	return []family{
		{name: "certd_hook_runs_total", kind: counter, kept: true, labels: []string{"hook", "event", "outcome"},
			help: "Hook runs."},
		{name: "certd_hook_duration_seconds", kind: histogram, kept: true, labels: []string{"hook", "event"},
			help: "Hook run time.", buckets: hookBuckets()},
		{name: "certd_hook_last_success_timestamp_seconds", kind: gauge, kept: true, labels: []string{"hook", "event"},
			help: "Last good run."},
		{name: "certd_hook_pending", kind: gauge, labels: []string{"hook"},
			help: "Events not yet delivered (retries)."},
	}
}

func reconcileFamilies() []family {
	return []family{
		{name: "certd_reconciles_total", kind: counter, kept: true, labels: []string{"trigger", "outcome"},
			help: "Reconcile runs."},
		{name: "certd_reconcile_last_run_timestamp_seconds", kind: gauge, kept: true,
			help: "End of last run."},
		{name: "certd_reconcile_last_success_timestamp_seconds", kind: gauge, kept: true,
			help: "End of last run without error."},
		{name: "certd_reconcile_last_duration_seconds", kind: gauge, kept: true,
			help: "Duration of the last run."},
		{name: "certd_reconcile_last_errors", kind: gauge, kept: true,
			help: "Errors of the last run."},
		{name: "certd_reconcile_interval_seconds", kind: gauge,
			help: "Expected period (cron or unit file; 0 unknown)."},
		{name: "certd_reconcile_next_timestamp_seconds", kind: gauge,
			help: "Next planned run."},
	}
}

func acmeFamilies() []family {
	ca := []string{"ca"}
	return []family{
		{name: "certd_acme_requests_total", kind: counter, kept: true, labels: []string{"ca", "operation", "code"},
			help: "HTTP requests to the CA."},
		{name: "certd_acme_request_duration_seconds", kind: histogram, kept: true, labels: []string{"ca", "operation"},
			help: "Latency incl. TLS, without retries.", buckets: requestBuckets()},
		{name: "certd_acme_problems_total", kind: counter, kept: true, labels: []string{"ca", "type"},
			help: "Problem documents."},
		{name: "certd_acme_nonce_retries_total", kind: counter, kept: true, labels: ca,
			help: "Requests repeated for badNonce."},
		{name: "certd_acme_rate_limit_waits_total", kind: counter, kept: true, labels: []string{"ca", "source"},
			help: "Waits for rate limits."},
		{name: "certd_acme_rate_limit_wait_seconds_total", kind: counter, kept: true, labels: []string{"ca", "source"},
			help: "Sum of the waits for rate limits."},
		{name: "certd_acme_breaker_until_timestamp_seconds", kind: gauge, labels: ca,
			help: "Until when the CA is not asked because it does not work, 0 if it is."},
		{name: "certd_ari_replaces_rejected_total", kind: counter, kept: true, labels: ca,
			help: "Orders that the CA did not let replace a certificate."},
		{name: "certd_acme_retry_after_timestamp_seconds", kind: gauge, kept: true, labels: ca,
			help: "Until when the CA asked us to stay away, 0 if not."},
		{name: "certd_acme_last_success_timestamp_seconds", kind: gauge, kept: true, labels: ca,
			help: "Last 2xx from the CA."},
	}
}

func clockFamilies() []family {
	source := []string{"source"}
	return []family{
		{name: "certd_clock_offset_seconds", kind: gauge, kept: true, labels: source,
			help: "Local minus reference clock, best estimate."},
		{name: "certd_clock_offset_uncertainty_seconds", kind: gauge, kept: true, labels: source,
			help: "Half width of the bound."},
		{name: "certd_clock_offset_measured_timestamp_seconds", kind: gauge, kept: true, labels: source,
			help: "When it was measured."},
		{name: "certd_clock_steps_total", kind: counter, kept: true,
			help: "Wall clock jumps > 1 s against the monotonic clock."},
	}
}
