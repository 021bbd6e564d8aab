package metrics

import "slices"

// other is the label value of what the catalogue does not list.
const other = "other"

// oneOf returns s if it is one of known, else otherwise.
func oneOf(s, otherwise string, known []string) string {
	if slices.Contains(known, s) {
		return s
	}
	return otherwise
}

func targetStates() []string {
	return []string{"ready", "due", "issuing", "failing", "missing", "expired"}
}

func triggers() []string {
	return []string{"startup", "cron", "timer", "manual", "watch", "signal"}
}

func reasons() []string {
	return []string{"new", "expiry", "ari", "revoked", "want_changed", "manual"}
}

func issuanceOutcomes() []string { return []string{"ok", "error", "rate_limited", "canceled"} }

func phases() []string {
	return []string{"order", "present", "propagate", "validate", "finalize", "download", "install"}
}

func causes() []string {
	return []string{"dns", "connect", "unauthorized", "caa", "rate_limited", "ca_internal", "timeout", "csr", "key", "store",
		"hook", "clock", other}
}

func limitSources() []string { return []string{"local", "retry_after"} }

func authorizationOutcomes() []string { return []string{"valid", "reused", "invalid", "expired"} }

func challengeTypes() []string {
	return []string{"http-01", "tls-alpn-01", "dns-01", "dns-account-01", "dns-persist-01"}
}

func requestResults() []string { return []string{"served", "unknown", "bad_request", "store_error"} }

func redirectResults() []string { return []string{"redirected", "misdirected", "bad_request"} }

func selfTestOutcomes() []string { return []string{"ok", "error"} }

func hookOutcomes() []string { return []string{"ok", "error", "timeout", "skipped"} }

func hookEvents() []string {
	return []string{"live-updated", "failed", "expiring", "account-created", "paused", "challenge-http-start", "challenge-http-stop",
		"challenge-dns-start", "challenge-dns-stop"}
}

func operations() []string {
	return []string{"directory", "nonce", "account", "order", "authz", "challenge", "finalize", "cert", "ari", "revoke"}
}

// problemTypes are the error types of RFC 8555 §6.7 and of RFC 9773 and the
// profiles draft, which came later.
func problemTypes() []string {
	return []string{"accountDoesNotExist", "alreadyRevoked", "badCSR", "badNonce", "badPublicKey", "badRevocationReason",
		"badSignatureAlgorithm", "caa", "compound", "connection", "dns", "externalAccountRequired", "incorrectResponse",
		"invalidContact", "malformed", "orderNotReady", "rateLimited", "rejectedIdentifier", "serverInternal", "tls",
		"unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired", "alreadyReplaced", "invalidProfile"}
}

// isStatus reports whether code is an HTTP status.
func isStatus(code string) bool {
	return len(code) == 3 && code[0] >= '1' && code[0] <= '5' && code[1] >= '0' && code[1] <= '9' && code[2] >= '0' && code[2] <= '9'
}
