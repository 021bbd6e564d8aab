package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"certd/acme"
	"certd/challenge"
)

// Answers to the questions about DNS.
const (
	dnsByHook = "hook" // dns-provider: a program of the hook directory, no provider
	noEnvFile = "none" // dns-env-file: the provider needs no variables
	listDNS   = "list" // dns-provider: show them
)

// dnsQuestions are about who sets TXT records, and with what credentials. They
// are read by certd-dns alone; certd only looks whether others could read them.
func dnsQuestions() []question {
	return []question{
		{
			id:   "dns-provider",
			text: say("DNS provider, " + dnsByHook + ", or " + listDNS + " to see them:"),
			help: func(s *setup) string {
				text := "The name by which certd-dns calls the company or server that has your DNS zone, such as cloudflare or rfc2136; " + dnsByHook + ": a program of yours in the hook directory sets the records."
				if s.dnsHelper == "" {
					text += " " + dnsMissing
				}
				return text
			},
			when: func(s *setup) bool { return s.answers["choose-method"] == challenge.MethodDNS },
			initial: func(s *setup) string {
				if s.present.Challenge.Method == challenge.MethodDNS {
					return orText(s.present.Challenge.DNSProvider, dnsByHook)
				}
				return ""
			},
			take: takeProvider,
		},
		{
			id:   "dns-env-file",
			text: say("File with its credentials, or " + noEnvFile + ":"),
			help: func(s *setup) string {
				text := "One NAME=value in each line, full path, mode 0600; certd-dns reads it, quickstart does not. Write it now, in another terminal."
				if s.dnsAbout != "" {
					text += "\n\n" + s.dnsAbout
				}
				return text
			},
			when: func(s *setup) bool {
				return s.answers["choose-method"] == challenge.MethodDNS && s.answers["dns-provider"] != dnsByHook
			},
			initial: func(s *setup) string { return orText(s.present.Challenge.DNSEnvFile, s.old["dns-env-file"]) },
			take:    takeEnvFile,
		},
	}
}

// dnsMissing says how to get certd-dns.
const dnsMissing = "The program certd-dns, which knows the providers, is neither beside certd nor in PATH: certd's package has it, and make build makes it."

// findDNSHelper is the path of certd-dns as certd itself looks for it, or empty.
func findDNSHelper() string {
	const name = "certd-dns"
	if self, err := os.Executable(); err == nil {
		if path := filepath.Join(filepath.Dir(self), name); exists(path) {
			return path
		}
	}
	path, _ := exec.LookPath(name) // empty if there is none
	return path
}

// A notice answers somebody who has asked back in place of answering.
type notice struct{ text string }

func (n *notice) Error() string { return acme.Sanitize(n.text) }

// takeProvider takes a name that certd-dns knows, and keeps what it says about
// the provider. Where certd-dns is not installed any name will do for now.
func takeProvider(ctx context.Context, s *setup, answer string) (string, error) {
	s.dnsAbout = ""
	odd := strings.Trim(answer, "abcdefghijklmnopqrstuvwxyz0123456789-.")
	switch {
	case answer == dnsByHook:
		return answer, nil
	case answer == "" || odd != "":
		return "", fmt.Errorf("%q is no DNS provider such as cloudflare; or answer %s", answer, dnsByHook)
	case s.dnsHelper == "" && answer == listDNS:
		return "", &notice{dnsMissing}
	case s.dnsHelper == "":
		return answer, nil
	case answer == listDNS:
		list, err := askDNSHelper(ctx, s.dnsHelper, "list")
		if err != nil {
			return "", err
		}
		return "", &notice{list}
	}
	about, err := askDNSHelper(ctx, s.dnsHelper, "help", answer)
	if err != nil {
		return "", err
	}
	s.dnsAbout = about
	return answer, nil
}

// askDNSHelper runs certd-dns for at most ten seconds and returns what it prints,
// line by line made printable. The error is what it complains about.
func askDNSHelper(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.WaitDelay = []string{"PATH=" + os.Getenv("PATH")}, time.Second
	out, complaint := &short{}, &short{}
	cmd.Stdout, cmd.Stderr = out, complaint
	if err := cmd.Run(); err != nil {
		if text := acme.Sanitize(complaint.String()); text != "" {
			return "", errors.New(text)
		}
		return "", fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	var text strings.Builder
	for line := range strings.Lines(out.String()) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		text.WriteString(indent + acme.Sanitize(line) + "\n")
	}
	return strings.TrimRight(text.String(), "\n"), nil
}

// short keeps the first 256 KiB written to it.
type short struct{ strings.Builder }

// Write takes everything and keeps what there is room for.
func (s *short) Write(p []byte) (int, error) {
	s.Builder.Write(p[:max(0, min(256<<10-s.Len(), len(p)))])
	return len(p), nil
}

// takeEnvFile takes a file that is there and that only root, or who owns the
// state directory, can change, and not everybody can read. It is not opened: what it says is not for us.
func takeEnvFile(_ context.Context, s *setup, answer string) (string, error) {
	if answer == noEnvFile {
		return answer, nil
	}
	if !filepath.IsAbs(answer) {
		return "", fmt.Errorf("%q is no absolute path, such as /etc/certd/dns.env; or answer %s", answer, noEnvFile)
	}
	answer = s.image.inside(filepath.Clean(answer))
	path := s.image.readable(answer)
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", path)
	}
	if mode := info.Mode().Perm(); mode&0o037 != 0 {
		return "", fmt.Errorf("%s has credentials and mode %04o, others may read or change it; run: chmod 0600 %s", path, mode, path)
	}
	owners := []uint32{0, uint32(os.Geteuid())}
	if state, err := os.Stat(s.store.Dir()); err == nil {
		owners = append(owners, ownerOf(state))
	}
	if owner := ownerOf(info); !slices.Contains(owners, owner) {
		return "", fmt.Errorf("%s belongs to user %d, who could change it; run: chown root %s", path, owner, path)
	}
	return answer, nil
}

func ownerOf(info os.FileInfo) uint32 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Uid
	}
	return 0
}

// editDNS writes who sets TXT records, and takes away what is not wanted any more.
func (s *setup) editDNS(d *document) {
	if s.answers["choose-method"] != challenge.MethodDNS {
		return // what is there does no harm, and is the suggestion of another time
	}
	for key, none := range map[string]string{"dns-provider": dnsByHook, "dns-env-file": noEnvFile} {
		answer, asked := s.answers[key]
		if !asked || answer == none {
			d.remove(d.top(), "request", "challenge", key)
		}
	}
	for _, key := range []string{"dns-provider", "dns-env-file"} {
		if answer := s.answers[key]; answer != "" && answer != dnsByHook && answer != noEnvFile {
			d.set(d.top(), scalar(answer), "request", "challenge", key)
		}
	}
}

// dnsForDaemon reports whether the daemon's user has to read credentials.
func (s *setup) dnsForDaemon() bool {
	return s.answers["run"] == runDaemon && filepath.IsAbs(s.answers["dns-env-file"])
}

// dnsTodo is what is left to do for the method dns: the program that sets the
// records, and credentials that the daemon's user can read.
func (s *setup) dnsTodo() []string {
	provider, file := s.answers["dns-provider"], s.answers["dns-env-file"]
	if s.answers["choose-method"] != challenge.MethodDNS || provider == dnsByHook {
		return nil
	}
	var out []string
	if s.dnsHelper == "" {
		out = append(out, "Before the first certificate: "+dnsMissing)
	}
	info, err := os.Stat(s.image.readable(file))
	if s.dnsForDaemon() && err == nil && ownerOf(info) == 0 && info.Mode().Perm()&0o040 == 0 {
		out = append(out, "chgrp certd "+file+" && chmod 0640 "+file)
		if s.image != "" {
			out[len(out)-1] += " (there, once it runs and has that user)"
		}
	}
	return append(out, s.image.missing(strings.TrimPrefix(file, noEnvFile))...)
}
