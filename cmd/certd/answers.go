package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/mail"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"certd/daemon"
	"certd/state"
)

// maxResponses is the most of a response file that is read, in bytes.
const maxResponses = 1 << 20

// answers reads the response file: the one that --response-file names, which
// must exist, or conf/responses of the state directory, which may be missing.
func (a *app) answers(store *state.Store) (daemon.Answers, error) {
	path := a.responseFile
	if path == "" {
		path = store.Path("conf", "responses")
	}
	info, err := os.Stat(path)
	switch {
	case a.responseFile == "" && errors.Is(err, fs.ErrNotExist):
		return daemon.Answers{}, nil
	case err != nil:
		return daemon.Answers{}, &daemon.ConfigError{Err: fmt.Errorf("response file: %w", err)}
	case info.Size() > maxResponses:
		return daemon.Answers{}, &daemon.ConfigError{Err: fmt.Errorf("response file %s: larger than %d bytes", path, maxResponses)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return daemon.Answers{}, &daemon.ConfigError{Err: fmt.Errorf("response file: %w", err)}
	}
	answers, err := parseAnswers(data)
	if err != nil {
		return daemon.Answers{}, &daemon.ConfigError{Err: fmt.Errorf("response file %s: %w", path, err)}
	}
	return answers, nil
}

// parseAnswers picks the answers that registering an account needs; answers to
// the quickstart's questions stand in the same file. certd's keys are read
// strictly. acmetool's are read as acmetool did, and certd's win over them.
func parseAnswers(data []byte) (daemon.Answers, error) {
	var answers daemon.Answers
	values := make(map[string]any)
	if err := yaml.Unmarshal(data, &values); err != nil {
		return answers, err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) { // acme- comes before certd-
		value := values[key]
		question, ours := strings.CutPrefix(key, "certd-")
		if !ours {
			if err := acmetoolAnswer(key, value, &answers); err != nil {
				return answers, err
			}
			continue
		}
		switch {
		case strings.HasPrefix(question, "quickstart-"):
		case isAgreement(question):
			agreed, isBool := value.(bool)
			if !isBool {
				return answers, fmt.Errorf("%s: %v is neither true nor false", key, value)
			}
			answers.Refused = answers.Refused || !agreed
		case question == "enter-email":
			contact, isText := value.(string)
			if !isText && value != nil || contact != "" && !isAddress(contact) {
				return answers, fmt.Errorf("%s: %q is no e-mail address such as ops@example.com; leave it empty for none", key, fmt.Sprint(value))
			}
			answers.Contact = contact
		default:
			return answers, unknownAnswer(key)
		}
	}
	return answers, nil
}

// acmetoolAnswer reads one of acmetool's keys as leniently as it did: a text is
// consent unless it says no, and what is no e-mail address counts as none. The
// URL in the agreement's key is not compared, since CAs change it.
func acmetoolAnswer(key string, value any, answers *daemon.Answers) error {
	question, ok := strings.CutPrefix(key, "acme-")
	switch {
	case ok && isAgreement(question):
		answers.Refused = answers.Refused || !accepts(value)
	case ok && question == "enter-email":
		if contact, isText := value.(string); isText && isAddress(contact) {
			answers.Contact = contact
		}
	case !ok && !strings.HasPrefix(key, "acmetool-"):
		return unknownAnswer(key)
	}
	return nil
}

func isAgreement(question string) bool {
	return question == "agreement" || strings.HasPrefix(question, "agreement:")
}

func accepts(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		return !strings.EqualFold(v, "false") && !strings.EqualFold(v, "no")
	}
	return value != nil
}

func isAddress(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Name == "" && address.Address == s
}

func unknownAnswer(key string) error {
	return fmt.Errorf("%s: unknown key; known are certd-agreement, certd-enter-email, certd-quickstart-..., and acmetool's", key)
}
