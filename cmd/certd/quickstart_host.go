package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"certd/challenge"
	"certd/packaging"
)

// wellKnown is how a webroot's path ends that is below a document root.
const wellKnown = "/.well-known/acme-challenge"

// Answers to run. runAny is acmetool's install-cronjob: whatever fits the machine.
const (
	runTimer   = "timer"
	runDaemon  = "daemon"
	runCron    = "cron"
	runNothing = "nothing"
	runAny     = "any"
)

// presentWebroot is the first directory of conf/target, else the standard one.
func presentWebroot(s *setup) string {
	if len(s.present.Challenge.WebrootPaths) > 0 {
		return s.present.Challenge.WebrootPaths[0]
	}
	return challenge.StandardWebroot
}

// takeWebroot takes a directory that is there or can be made.
func takeWebroot(_ context.Context, s *setup, answer string) (string, error) {
	if !filepath.IsAbs(answer) {
		return "", fmt.Errorf("%q is no absolute path, such as /var/www/html%s", answer, wellKnown)
	}
	path := s.image.inside(filepath.Clean(answer))
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(s.image.on(dir))
		switch {
		case errors.Is(err, os.ErrNotExist) && dir != "/":
			continue
		case s.image != "" && dir == "/" && path != "/":
			return path, nil // an image may still be empty
		case err != nil:
			return "", err
		case !info.IsDir():
			return "", fmt.Errorf("%s is no directory", dir)
		case dir == "/" && path != "/":
			return "", fmt.Errorf("%s cannot be made: not even %s is there", path, "/"+strings.Split(path, "/")[1])
		case dir == "/":
			return "", errors.New("the root directory is no webroot")
		}
		return path, nil
	}
}

func takeUnlikely(_ context.Context, s *setup, answer string) (string, error) {
	if answer == "no" {
		s.answers["webroot-path"] = filepath.Join(s.answers["webroot-path"], wellKnown)
	}
	return answer, nil
}

// hookQuestions are about what runs after a renewal.
func hookQuestions() []question {
	return []question{
		{
			id:   "install-reload-hook",
			text: say("Install the hook that reloads your servers?"),
			help: func(s *setup) string {
				found := "None of the servers it knows is there now; it does nothing until one runs."
				if len(s.servers) > 0 && s.image != "" {
					found = "Installed there: " + strings.Join(s.servers, ", ") + "."
				} else if len(s.servers) > 0 {
					found = "Running here: " + strings.Join(s.servers, ", ") + "."
				}
				return "A server reads a new certificate only when it is reloaded; the hook does that after a renewal, having tested the server's configuration. " + found
			},
			optional: true,
			initial: func(s *setup) string {
				have := s.hook("reload")
				return yesOrNo(have == hookOn || have == hookAbsent && s.old["install-reload-hook"] != "no")
			},
			yesNo: true,
		},
		{
			id:     "install-haproxy-script",
			text:   say("Install the hook for HAProxy?"),
			help:   say("HAProxy and a few others want key and certificate in one file; the hook makes live/NAME/haproxy, and does nothing where no such server is installed."),
			expert: true, optional: true,
			initial: func(s *setup) string {
				return yesOrNo(s.hook("haproxy") == hookOn || s.hook("haproxy") == hookAbsent && slices.Contains(s.servers, "haproxy") && s.old["install-haproxy-script"] != "no")
			},
			yesNo: true,
		},
	}
}

// serviceQuestions are about what runs by itself on this machine.
func serviceQuestions() []question {
	return []question{
		{
			id:   "install-redirector-systemd",
			text: say("Install the redirector as a systemd service?"),
			help: say("certd-redirector answers port 80: it serves challenges and sends every other request to https. It runs without root's rights and cannot read keys."),
			when: func(s *setup) bool {
				return s.answers["choose-method"] == challenge.MethodRedirector && s.services.systemd()
			},
			yesNo: true,
			initial: func(s *setup) string {
				return yesOrNo(s.old["install-redirector-systemd"] != "no")
			},
		},
		{
			id:      "run",
			text:    say("How shall certd run?"),
			help:    runHelp,
			initial: presentRun,
			choices: func(s *setup) []choice {
				var out []choice
				if s.services.systemd() {
					out = []choice{{runTimer, runTimer, "systemd starts it every six hours; nothing stays in memory"},
						{runDaemon, runDaemon, "it runs all the time, with metrics and exact times"}}
				}
				if s.services.may() {
					out = append(out, choice{runCron, runCron, "cron starts it every six hours"})
				}
				return append(out, choice{runNothing, runNothing, "you start certd reconcile yourself, at least daily"})
			},
			take: takeRun,
		},
		{
			id:   "turn-off-others",
			text: say("Turn these off?"),
			help: func(s *setup) string {
				var lines []string
				for _, f := range s.services.rivals(s.answers) {
					lines = append(lines, f.What)
				}
				return "Two of a kind would get in each other's way. Installed is: " + strings.Join(lines, "; ") + "."
			},
			when: func(s *setup) bool {
				return s.image == "" && len(s.services.rivals(s.answers)) > 0
			},
			optional: true,
			initial:  say("yes"),
			yesNo:    true,
		},
	}
}

// runHelp says what a way to run means, and what is there already.
func runHelp(s *setup) string {
	text := "Certificates have to be renewed by something that runs by itself; one thing, never two."
	if !s.services.may() {
		text += " Only root can install that; here you get a line for your crontab at the end."
	}
	for _, f := range s.services.found {
		if f.Program == "certd" && f.Managed && f.Kind != packaging.Redirector {
			text += " Installed: " + f.What + "; another answer takes it away."
		}
	}
	return text
}

// presentRun is what is installed; else what was answered before; else what fits.
func presentRun(s *setup) string {
	for _, f := range s.services.found {
		if f.Program == "certd" && (f.Enabled || s.image != "" && f.Managed) && f.Kind != packaging.Redirector {
			return string(f.Kind)
		}
	}
	if s.old["run"] == runNothing {
		return runNothing
	}
	return s.services.suggest()
}

func takeRun(_ context.Context, s *setup, answer string) (string, error) {
	switch answer {
	case runAny:
		return s.services.suggest(), nil
	case runNothing, string(packaging.None):
		return runNothing, nil
	case runTimer, runDaemon, runCron:
	default:
		return "", fmt.Errorf("%q is none of %s", answer, join([]string{runTimer, runDaemon, runCron, runNothing}))
	}
	if !s.services.may() {
		return "", fmt.Errorf("%s: only root can install that; answer nothing, and a line for your crontab is shown at the end", answer)
	}
	if answer != runCron && !s.services.systemd() {
		return "", fmt.Errorf("%s: there is no systemd here", answer)
	}
	return answer, nil
}

// serverPrograms are the programs that serve certificates, and what people call
// them.
func serverPrograms() map[string]string {
	return map[string]string{"nginx": "nginx", "apache2": "apache", "httpd": "apache", "haproxy": "haproxy", "caddy": "caddy",
		"lighttpd": "lighttpd", "hitch": "hitch", "dovecot": "dovecot", "exim4": "exim4", "master": "postfix"}
}

// runningServers returns which of the programs that serve certificates run on
// this machine, by the names of processes; empty where that cannot be seen.
func runningServers(proc string) []string {
	known := serverPrograms()
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "comm")) // the pattern is well-formed
	var out []string
	for _, file := range files {
		comm, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if name := known[strings.TrimSpace(string(comm))]; name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// webServers are those of the running servers that can answer on port 80.
func (s *setup) webServers() []string {
	return slices.DeleteFunc(slices.Clone(s.servers), func(name string) bool {
		return !slices.Contains(snippetServers(), name)
	})
}
