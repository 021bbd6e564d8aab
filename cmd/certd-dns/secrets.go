package main

import (
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
)

const (
	leastSecret = 6       // bytes; what is shorter is in too many words
	mostSecret  = 4 << 10 // bytes; what is longer is in no error
)

// hide takes credentials out of text: providers' errors have URLs with tokens in
// them. Which variables of environ are credentials their names say; NAME_FILE is
// a file with the value of NAME.
func hide(text string, environ []string) string {
	var secrets []string
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		name, inFile := strings.CutSuffix(strings.ToUpper(name), "_FILE")
		if !isSecret(name) {
			continue
		}
		if inFile {
			value = content(value)
		}
		if len(value) >= leastSecret && len(value) <= mostSecret {
			secrets = append(secrets, value, url.QueryEscape(value), url.PathEscape(value))
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

func isSecret(name string) bool {
	return slices.ContainsFunc([]string{"KEY", "SECRET", "TOKEN", "PASS", "PWD", "AUTH", "CRED", "HMAC", "SESSION"},
		func(word string) bool { return strings.Contains(name, word) })
}

// content is that of a small file; empty if it cannot be read.
func content(path string) string {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, mostSecret+2)) // what came is all there is to hide
	return strings.TrimSuffix(string(data), "\n")
}
