package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// catalog is one JSON line per provider, made from lego's own descriptions by
// go test -run TestCatalog -update.
//
//go:embed providers.jsonl
var catalog string

// A description is what lego says about one provider.
type description struct {
	Code      string     `json:"code"`
	Aliases   []string   `json:"aliases,omitempty"`
	Name      string     `json:"name"`
	URL       string     `json:"url,omitempty"`
	Variables []variable `json:"variables,omitempty"`
}

// A variable of the environment.
type variable struct {
	Name       string `json:"name"`
	Text       string `json:"text"`
	Credential bool   `json:"credential,omitempty"`
}

// providers reads the catalog.
func providers() ([]description, error) {
	var all []description
	for line := range strings.Lines(catalog) {
		var d description
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			return nil, fmt.Errorf("list of providers: %w", err)
		}
		all = append(all, d)
	}
	return all, nil
}

// find returns the provider of this code or alias, nil if there is none.
func find(name string) *description {
	all, _ := providers() // the tests read all of it
	i := slices.IndexFunc(all, func(d description) bool { return d.Code == name || slices.Contains(d.Aliases, name) })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// meant names the provider that name is a part or the beginning of, if any.
func meant(name string) string {
	all, _ := providers()
	for _, d := range all {
		if len(name) > 2 && (strings.HasPrefix(d.Code, strings.ToLower(name)) || strings.EqualFold(d.Name, name)) {
			return "; did you mean " + d.Code + "?"
		}
	}
	return ""
}

// listProviders prints all codes with their names.
func listProviders(w io.Writer) error {
	all, err := providers()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	for _, d := range all {
		fmt.Fprintf(out, "%-20s %s", d.Code, d.Name)
		if len(d.Aliases) > 0 {
			fmt.Fprintf(out, " (also: %s)", strings.Join(d.Aliases, ", "))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// helpProvider prints the variables of one provider.
func helpProvider(w io.Writer, name string) error {
	d := find(name)
	if d == nil {
		return fmt.Errorf("there is no DNS provider %.60q; certd-dns list shows them%s", name, meant(name))
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s: %s", d.Code, d.Name)
	if strings.HasPrefix(d.URL, "https://") {
		fmt.Fprintf(out, ", %s", d.URL)
	}
	fmt.Fprint(out, "\n\nVariables for the file that request.challenge.dns-env-file names, one NAME=value in a line:\n")
	for _, credential := range []bool{true, false} {
		if !credential && slices.ContainsFunc(d.Variables, func(v variable) bool { return !v.Credential }) {
			fmt.Fprint(out, "\nThese have defaults:\n")
		}
		for _, v := range d.Variables {
			if v.Credential == credential {
				fmt.Fprintf(out, "  %s\n      %s\n", v.Name, v.Text)
			}
		}
	}
	if d.Code == "rfc2136" {
		fmt.Fprint(out, "\nRFC2136_... is the same as DNSUPDATE_..., its newer name.\n")
	}
	fmt.Fprintf(out, "\nNAME_FILE in place of NAME names a file that holds the value.\nMore: https://go-acme.github.io/lego/dns/%s/\n", d.Code)
	return out.Flush()
}

// A settingError is a provider that could not be made, with the variables its
// message names.
type settingError struct {
	provider  string
	variables []string
	err       error
}

func (e *settingError) Error() string {
	text := fmt.Sprintf("%s: %s", e.provider, strings.TrimPrefix(e.err.Error(), e.provider+": "))
	return text + "; certd-dns help " + e.provider + " explains its variables"
}

func (e *settingError) Unwrap() error { return e.err }

// setting finds the variables that err names; or else it names those that hold
// the provider's credentials and are not set.
func setting(provider string, err error) error {
	if _, ok := errors.AsType[*settingError](err); ok {
		return err
	}
	names := isVariable().FindAllString(err.Error(), 16)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 && !strings.Contains(err.Error(), "shut down") {
		if names = unset(provider, os.LookupEnv); len(names) > 0 {
			err = fmt.Errorf("%w; not set are %s", err, strings.Join(names, ", "))
		}
	}
	return &settingError{provider: provider, variables: names, err: err}
}

// bare adds to the error of a provider that was given nothing at all, and has
// looked for credentials elsewhere, which variables hold them.
func bare(provider string, err error, environ []string) error {
	surroundings := []string{"PATH", "HOME", "PWD", "GOMEMLIMIT", "LEGO_DISABLE_CNAME_SUPPORT"}
	given := slices.ContainsFunc(environ, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(surroundings, name)
	})
	if names := unset(provider, os.LookupEnv); err != nil && !given && len(names) > 0 {
		return fmt.Errorf("%w; not set are %s; certd-dns help %s explains them", err, strings.Join(names, ", "), provider)
	}
	return err
}

// unset are the variables for credentials of a provider that look does not find.
func unset(provider string, look func(string) (string, bool)) (names []string) {
	d := find(provider)
	if d == nil {
		return nil
	}
	for _, v := range d.Variables {
		_, set := look(v.Name)
		_, inFile := look(v.Name + "_FILE")
		if v.Credential && !set && !inFile && isVariable().FindString(v.Name) == v.Name {
			names = append(names, v.Name)
		}
	}
	return names[:min(len(names), 8)]
}

func isVariable() *regexp.Regexp { return regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b`) }
