package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
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

// parseAnswers picks the answers that registering an account needs. acmetool's
// keys are accepted; the URL in its agreement key is not compared, since CAs
// change it. Answers to the quickstart's questions stand in the same file.
func parseAnswers(data []byte) (daemon.Answers, error) {
	var answers daemon.Answers
	values := make(map[string]any)
	if err := yaml.Unmarshal(data, &values); err != nil {
		return answers, err
	}
	for key, value := range values {
		question, ok := strings.CutPrefix(key, "certd-")
		if !ok {
			question, ok = strings.CutPrefix(key, "acme-")
		}
		switch {
		case strings.HasPrefix(key, "acmetool-quickstart-"), strings.HasPrefix(key, "certd-quickstart-"):
		case ok && (question == "agreement" || strings.HasPrefix(question, "agreement:")):
			agreed, isBool := value.(bool)
			if !isBool {
				return answers, fmt.Errorf("%s: %v is neither true nor false", key, value)
			}
			answers.Refused = answers.Refused || !agreed
		case ok && question == "enter-email":
			contact, isText := value.(string)
			if !isText && value != nil {
				return answers, fmt.Errorf("%s: %v is no e-mail address", key, value)
			}
			if contact == "" {
				continue
			}
			address, err := mail.ParseAddress(contact)
			if err != nil || address.Name != "" || address.Address != contact {
				return answers, fmt.Errorf("%s: %q is no e-mail address such as ops@example.com; leave it empty for none", key, contact)
			}
			answers.Contact = contact
		default:
			return answers, fmt.Errorf("%s: unknown key; known are certd-agreement, certd-enter-email, certd-quickstart-..., and acmetool's", key)
		}
	}
	return answers, nil
}
