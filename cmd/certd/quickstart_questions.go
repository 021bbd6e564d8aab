package main

import (
	"context"
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"

	"certd/acme"
	"certd/challenge"
	"certd/config"
)

// A question is one row of the quickstart's table. The same rows serve the
// dialogue and the response file. A nil function is a plain default: always
// asked, nothing to begin with, free text, taken as it is.
type question struct {
	id       string
	text     func(*setup) string
	help     func(*setup) string // one sentence that says what the answer means
	when     func(*setup) bool
	expert   bool // asked with --expert, or taken if a response file answers it
	optional bool // without an answer the unattended run takes the default
	initial  func(*setup) string
	choices  func(*setup) []choice
	yesNo    bool
	url      string // the choice in whose place a URL may be given
	// take checks an answer and applies it to the setup. It returns the answer as
	// it is kept; an error is told to who answered, who is then asked again.
	take func(ctx context.Context, s *setup, answer string) (string, error)
}

// questions is the table, in the order of asking.
func questions() []question {
	return slices.Concat(caQuestions(), []question{
		{
			id:      "choose-method",
			text:    say("How can it see that a name is yours?"),
			help:    say("The CA fetches a file from port 80 of every name, and this is who answers it; with dns it looks for a TXT record. docs/challenges.md explains the ways."),
			initial: presentMethod,
			choices: func(*setup) []choice { return methods() },
			take:    takeMethod,
		},
		{
			id:      "webroot-path",
			text:    say("Directory for challenge files:"),
			help:    say("The complete directory that your web server shows under /.well-known/acme-challenge; certd puts a file there while a challenge runs. It is made if it is missing."),
			when:    func(s *setup) bool { return s.answers["choose-method"] == challenge.MethodWebroot },
			initial: presentWebroot,
			take:    takeWebroot,
		},
		{
			id:   "webroot-path-unlikely",
			text: say("Keep it although it does not end in " + wellKnown + "?"),
			help: func(s *setup) string {
				return fmt.Sprintf("Yes if the web server maps the challenge path to %s; no if that is a document root: then %s%s is taken.",
					s.answers["webroot-path"], s.answers["webroot-path"], wellKnown)
			},
			when: func(s *setup) bool {
				path := s.answers["webroot-path"]
				return s.answers["choose-method"] == challenge.MethodWebroot && !strings.HasSuffix(path, wellKnown) &&
					path != challenge.StandardWebroot && !slices.Contains(s.present.Challenge.WebrootPaths, path)
			},
			optional: true,
			initial:  say("yes"),
			yesNo:    true,
			take:     takeUnlikely,
		},
	}, dnsQuestions(), accountQuestions(), keyQuestions(), hookQuestions(), serviceQuestions())
}

// accountQuestions are about the account at the CA.
func accountQuestions() []question {
	return []question{
		{
			id:      "enter-email",
			text:    say("E-mail address for the CA, or none:"),
			help:    say("The CA may write to it about your account; some CAs, such as Let's Encrypt, keep none any more."),
			when:    func(s *setup) bool { return !s.account },
			initial: func(s *setup) string { return orText(s.old["enter-email"], "none") },
			take:    takeEmail,
		},
		{
			id:   "agreement",
			text: say("Do you agree to the CA's terms of service?"),
			help: func(s *setup) string {
				if s.newTerms() {
					return fmt.Sprintf("%s has other terms now than you agreed to: %s in place of %s", s.ca.Name, acme.Sanitize(s.directory.Terms), acme.Sanitize(s.agreed))
				}
				return fmt.Sprintf("%s makes accounts only for those who accept its terms: %s", s.ca.Name, acme.Sanitize(s.directory.Terms))
			},
			when: func(s *setup) bool {
				return s.newTerms() || !s.account && s.directory != nil && s.directory.Terms != ""
			},
			initial: func(s *setup) string { return yesOrNo(s.old["agreement"] == "yes" && !s.newTerms()) },
			yesNo:   true,
			take:    takeAgreement,
		},
	}
}

// keyQuestions are about keys, for experts.
func keyQuestions() []question {
	return []question{
		{
			id:      "key-type",
			text:    say("Kind of keys:"),
			help:    say("ECDSA keys are small and fast, and every browser of the last ten years knows them; RSA is for older clients."),
			expert:  true,
			initial: func(s *setup) string { return orText(s.present.Key.Algorithm, "ecdsa") },
			choices: func(*setup) []choice {
				return []choice{{"ecdsa", "ecdsa", "small and fast"}, {"rsa", "rsa", "for very old clients"}}
			},
			take: oneOfChoices("ecdsa", "rsa"),
		},
		{
			id:       "rsa-key-size",
			text:     say("Size of RSA keys in bits:"),
			help:     say("2048 is what most sites use; 4096 makes every handshake several times slower."),
			when:     func(s *setup) bool { return s.answers["key-type"] == "rsa" },
			expert:   true,
			optional: true,
			initial:  func(s *setup) string { return strconv.Itoa(max(s.present.Key.Bits, 2048)) },
			take: func(_ context.Context, _ *setup, answer string) (string, error) {
				answer = orText(answer, "2048")
				_, err := config.ParseKeyType("rsa-" + answer)
				return answer, err
			},
		},
		{
			id:       "ecdsa-curve",
			text:     say("Curve of ECDSA keys:"),
			help:     say("nistp256 is what all CAs sign and all browsers know; some refuse nistp521."),
			when:     func(s *setup) bool { return s.answers["key-type"] == "ecdsa" },
			expert:   true,
			optional: true,
			initial:  func(s *setup) string { return orText(s.present.Key.Curve, "nistp256") },
			choices: func(*setup) []choice {
				return []choice{{"nistp256", "nistp256", ""}, {"nistp384", "nistp384", ""}, {"nistp521", "nistp521", ""}}
			},
			take: oneOfChoices("nistp256", "nistp384", "nistp521"),
		},
		{
			id:      "self-test",
			text:    say("Look for the challenge from here before the CA does?"),
			help:    say("A failed validation counts against your limits at the CA, so certd looks first; say no where this machine cannot reach its own public addresses."),
			expert:  true,
			initial: func(s *setup) string { return yesOrNo(s.present.Challenge.SelfTest) },
			yesNo:   true,
		},
	}
}

// methods are the ways to prove control that this certd has.
func methods() []choice {
	return []choice{
		{challenge.MethodWebroot, challenge.MethodWebroot, "your web server, from a directory that certd writes files to"},
		{challenge.MethodProxy, challenge.MethodProxy, "your web server passes the requests on to certd on port 402"},
		{challenge.MethodRedirector, challenge.MethodRedirector, "certd on port 80, which sends everything else to https"},
		{challenge.MethodListen, challenge.MethodListen, "certd on port 80, only while a challenge runs"},
		{challenge.MethodStateless, challenge.MethodStateless, "your web server, which knows the account's thumbprint"},
		{challenge.MethodDNS, challenge.MethodDNS, "a TXT record in the DNS; nothing listens, wildcards work"},
		{challenge.MethodHook, challenge.MethodHook, "a program of yours in the hook directory"},
	}
}

// presentMethod is the method of conf/target, else what fits this machine.
func presentMethod(s *setup) string {
	switch {
	case s.present.Challenge.Method != "":
		return s.present.Challenge.Method
	case len(s.present.Challenge.WebrootPaths) > 0:
		return challenge.MethodWebroot
	case len(s.webServers()) > 0:
		return challenge.MethodProxy
	}
	return challenge.MethodListen
}

func takeMethod(_ context.Context, _ *setup, answer string) (string, error) {
	var known []string
	for _, m := range methods() {
		if m.value == answer {
			return answer, nil
		}
		known = append(known, m.value)
	}
	return "", fmt.Errorf("%q is no method; want %s", answer, join(known))
}

func takeEmail(_ context.Context, _ *setup, answer string) (string, error) {
	if answer == "" || answer == "none" {
		return "", nil
	}
	address, err := mail.ParseAddress(answer)
	if err != nil || address.Name != "" || address.Address != answer {
		return "", fmt.Errorf("%q is no e-mail address such as ops@example.com", answer)
	}
	return answer, nil
}

func takeAgreement(_ context.Context, s *setup, answer string) (string, error) {
	if answer == "no" && !s.newTerms() { // an account that there is stays
		return "", &refusal{fmt.Errorf("%s makes accounts only for those who accept its terms of service, %s", s.ca.Name, acme.Sanitize(s.directory.Terms))}
	}
	return answer, nil
}

// A refusal is an answer that ends the dialogue.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

// oneOfChoices takes the known words only.
func oneOfChoices(known ...string) func(context.Context, *setup, string) (string, error) {
	return func(_ context.Context, _ *setup, answer string) (string, error) {
		if !slices.Contains(known, answer) {
			return "", fmt.Errorf("%q is none of %s", answer, join(known))
		}
		return answer, nil
	}
}

// say is a text that is the same for everybody.
func say(text string) func(*setup) string { return func(*setup) string { return text } }

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// join lists words as a sentence does: "a, b or c".
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
