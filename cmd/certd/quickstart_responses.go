package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"certd/daemon"
)

// responses are answers by the ID of their question, as text: "yes" and "no" for
// what a response file says with true and false.
type responses map[string]string

// responseKey is how a response file calls the question with this ID.
func responseKey(id string) string {
	if id == "agreement" || id == "enter-email" {
		return "certd-" + id
	}
	return "certd-quickstart-" + id
}

// ignored are acmetool's acknowledgements, which here nobody has to give.
func ignored(id string) bool {
	return slices.Contains([]string{"complete", "invalid-directory-url", "invalid-rsa-key-size", "webroot-path-invalid"}, id)
}

// parseResponses reads a response file strictly: a key that belongs to no
// question is an error, and so is a value that can be none. The key of an
// agreement may end in the URL of the terms, which is not compared.
func parseResponses(data []byte) (responses, error) {
	values := make(map[string]any)
	if err := yaml.Unmarshal(data, &values); err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, q := range questions() {
		known[q.id] = true
	}
	out := make(responses)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(values)) { // acme..., acmetool..., certd...: ours win
		id := questionOf(key)
		text, err := responseText(values[key])
		switch {
		case ignored(id):
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		case id == "install-cronjob": // acmetool's question for what is now "run"
			if yes, ok := parseYes(text); !ok {
				errs = append(errs, fmt.Errorf("%s: %q is neither true nor false", key, text))
			} else if yes {
				out["run"] = runAny
			} else {
				out["run"] = runNothing
			}
		case !known[id]:
			errs = append(errs, fmt.Errorf("%s: unknown key; docs/quickstart.md lists the known ones", key))
		case out[id] == "no" && id == "agreement": // one refusal among several agreements counts
		default:
			out[id] = text
		}
	}
	return out, errors.Join(errs...)
}

// questionOf returns the ID of the question that a key answers; empty if the
// key has no prefix of ours or acmetool's.
func questionOf(key string) string {
	for _, prefix := range []string{"certd-quickstart-", "acmetool-quickstart-"} {
		if id, ok := strings.CutPrefix(key, prefix); ok && id != "agreement" && id != "enter-email" {
			return id
		}
	}
	for _, prefix := range []string{"certd-", "acme-"} {
		id, ok := strings.CutPrefix(key, prefix)
		if ok && (id == "agreement" || strings.HasPrefix(id, "agreement:")) {
			return "agreement"
		}
		if ok && id == "enter-email" {
			return id
		}
	}
	return ""
}

// responseText is a value of a response file as a person would have typed it.
func responseText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	case int:
		return strconv.Itoa(v), nil
	case bool:
		return yesOrNo(v), nil
	}
	return "", errors.New("want text, a number, true or false")
}

// parseYes reads an answer to a yes-or-no question.
func parseYes(text string) (yes, ok bool) {
	switch strings.ToLower(text) {
	case "yes", "y", "true", "on":
		return true, true
	case "no", "n", "false", "off":
		return false, true
	}
	return false, false
}

// readResponses reads a response file; with missing, one that is not there has
// no answers.
func readResponses(path string, missing bool) (responses, error) {
	info, err := os.Stat(path)
	switch {
	case missing && errors.Is(err, fs.ErrNotExist):
		return responses{}, nil
	case err != nil:
		return nil, &daemon.ConfigError{Err: fmt.Errorf("response file: %w", err)}
	case info.Size() > maxResponses:
		return nil, &daemon.ConfigError{Err: fmt.Errorf("response file %s: larger than %d bytes", path, maxResponses)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &daemon.ConfigError{Err: fmt.Errorf("response file: %w", err)}
	}
	answers, err := parseResponses(data)
	if err != nil {
		return nil, &daemon.ConfigError{Err: fmt.Errorf("response file %s: %w", path, err)}
	}
	return answers, nil
}

// file is the responses as a file, in the order of the questions.
func (r responses) file() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# The answers given to certd quickstart. With --batch it takes them from here.\n")
	for _, q := range questions() {
		text, ok := r[q.id]
		if !ok {
			continue
		}
		var value any = text
		if yes, isYesNo := parseYes(text); isYesNo && q.yesNo {
			value = yes
		}
		line, err := yaml.Marshal(map[string]any{responseKey(q.id): value})
		if err != nil {
			return nil, fmt.Errorf("write responses: %w", err)
		}
		out.Write(line)
	}
	return out.Bytes(), nil
}
