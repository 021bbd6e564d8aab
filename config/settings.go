package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// The values of challenge.dns-check.
const (
	DNSAuthoritative = "authoritative" // every authoritative server shows a record, then every resolver of dns-resolvers
	DNSResolvers     = "resolvers"     // those of dns-resolvers alone
	DNSOff           = "off"           // nobody is asked
)

// defaultSettings are the settings of a machine without conf/certd.yaml.
func defaultSettings() *Settings {
	return &Settings{
		Schedule:  "@every 6h",
		Jitter:    30 * time.Minute,
		Listen:    "127.0.0.1:9402",
		Parallel:  8,
		Challenge: ChallengeSettings{HTTPPort: 80, TLSPort: 443, ProxyPort: 402, DNSCheck: DNSAuthoritative, DNSPort: 53, DNSSettle: 2 * time.Second},
		Metrics:   MetricsSettings{Prefix: "certd"},
	}
}

// LoadSettings reads conf/certd.yaml of the state directory. Without it every
// setting has its default. The error holds every Mistake of the file.
func LoadSettings(stateDir string) (*Settings, error) {
	const path = "conf/certd.yaml"
	dir, err := openDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultSettings(), nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	data, err := readFile(dir, path)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultSettings(), nil
	}
	if err != nil {
		return nil, err
	}
	return ParseSettings(path, data)
}

// ParseSettings reads the content data of conf/certd.yaml; path is its name in
// messages. The error holds every Mistake of the file.
func ParseSettings(path string, data []byte) (*Settings, error) {
	s := defaultSettings()
	d := decode(path, data, s.schema())
	if s.Metrics.Prefix == "" {
		d.complainAt("metrics.prefix", "is empty; remove the line for the default, certd")
	}
	if s.Challenge.DNSCheck == DNSResolvers && len(s.Challenge.DNSResolvers) == 0 {
		d.complainAt("challenge.dns-check", "is resolvers, but challenge.dns-resolvers names none")
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// dnsCheck accepts a value of challenge.dns-check.
func dnsCheck(s string) (string, error) {
	return oneOf(s, "DNS check", DNSAuthoritative, DNSResolvers, DNSOff)
}

// schema is every key of conf/certd.yaml.
func (s *Settings) schema() schema {
	port := between(1, 65535)
	return schema{
		"schedule":   into(&s.Schedule, scheduleText),
		"jitter":     into(&s.Jitter, duration(0, 24*time.Hour)),
		"listen":     into(&s.Listen, checked(hostPort)),
		"management": into(&s.Management, checked(hostPort)),
		"responder":  into(&s.Responder, checked(hostPort)),
		"parallel":   into(&s.Parallel, between(1, 100)),

		"challenge.http-port":  into(&s.Challenge.HTTPPort, port),
		"challenge.tls-port":   into(&s.Challenge.TLSPort, port),
		"challenge.proxy-port": into(&s.Challenge.ProxyPort, port),
		"challenge.resolver":   into(&s.Challenge.Resolver, checked(remote)),

		"challenge.dns-check":     into(&s.Challenge.DNSCheck, checked(dnsCheck)),
		"challenge.dns-port":      into(&s.Challenge.DNSPort, port),
		"challenge.dns-resolvers": into(&s.Challenge.DNSResolvers, list(16, checked(remote))),
		"challenge.dns-settle":    into(&s.Challenge.DNSSettle, duration(0, time.Hour)),

		"cas": into(&s.CAs, readCAs),

		"metrics.textfile": into(&s.Metrics.Textfile, checked(textfile)),
		"metrics.statsd":   into(&s.Metrics.StatsD, checked(remote)),
		"metrics.graphite": into(&s.Metrics.Graphite, checked(remote)),
		"metrics.prefix":   into(&s.Metrics.Prefix, checked(prefix)),
	}
}

// readCAs reads the list cas. Every entry needs a name and a directory.
func readCAs(v value) ([]CA, bool) {
	entries, ok := v.items(64)
	if !ok {
		return nil, false
	}
	before := len(v.mistakes)
	lines := map[string]int{}
	var out []CA
	for i, e := range entries {
		ca := e.readCA(fmt.Sprintf("%s[%d]", v.key, i))
		if first := lines[ca.Name]; first > 0 {
			v.complain(e.node.Line, v.key, "name %s is given twice, first in line %d; names are unique", ca.Name, first)
		}
		if ca.Name != "" {
			lines[ca.Name] = e.node.Line
		}
		out = append(out, ca)
	}
	return out, len(v.mistakes) == before
}

// readCA reads one entry of cas, called key in messages.
func (v value) readCA(key string) CA {
	var ca CA
	before := len(v.mistakes)
	v.mapping(v.node, key+".", "", schema{
		"name":          into(&ca.Name, checked(nickname)),
		"directory":     into(&ca.Directory, checked(httpsURL)),
		"staging":       into(&ca.Staging, checked(httpsURL)),
		"ca-bundle":     into(&ca.Bundle, checked(absolute)),
		"eab.kid":       into(&ca.EABKeyID, text),
		"eab.hmac-file": into(&ca.EABHMACFile, checked(absolute)),
		"limits":        into(&ca.Limits, readLimits),
	})
	if len(v.mistakes) > before {
		return ca
	}
	switch {
	case ca.Name == "":
		v.complain(v.node.Line, key, "has no name; add name: and a word to call the CA by")
	case ca.Directory == "" && !ca.complete():
		v.complain(v.node.Line, key, "has no directory; add directory: and the URL of the CA's ACME directory")
	case (ca.EABKeyID == "") != (ca.EABHMACFile == ""):
		v.complain(v.node.Line, key, "eab needs both kid and hmac-file")
	}
	return ca
}

// complete fills in the directory of a built-in CA and reports whether there is one.
func (ca *CA) complete() bool {
	for _, b := range builtin() {
		if b.Name == ca.Name {
			ca.Directory = b.Directory
			ca.Staging = cmp.Or(ca.Staging, b.Staging)
			return true
		}
	}
	return false
}

// scheduleText reads the schedule: @every and a duration of at least a minute, a
// word such as @daily, or five fields, perhaps after TZ=, that come some day.
func scheduleText(v value) (string, bool) {
	s, ok := text(v)
	if !ok {
		return "", false
	}
	if err := checkSchedule(s); err != nil {
		v.refuse("%s is no schedule (%v); want \"@every 6h\" (at least 1m), \"@daily\" or five fields such as \"0 3,15 * * *\"", quote(s), err)
		return "", false
	}
	return s, true
}

func checkSchedule(s string) error {
	if every, ok := strings.CutPrefix(s, "@every "); ok {
		if d, err := time.ParseDuration(strings.TrimSpace(every)); err == nil && d < time.Minute {
			return errors.New("too often")
		}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) || !strings.Contains(s, " ") && !strings.HasPrefix(s, "@") {
		return errors.New("not understood") // the interpreter panics at some of these
	}
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return err
	}
	if schedule.Next(time.Now()).IsZero() {
		return errors.New("it never comes; is there such a day?")
	}
	return nil
}

// textfile accepts a file that node_exporter's textfile collector reads.
func textfile(s string) (string, error) {
	if !strings.HasSuffix(s, ".prom") {
		return "", fmt.Errorf("%s does not end in .prom; node_exporter reads no other files", quote(s))
	}
	return absolute(s)
}

// prefix accepts the first part of a metric's name.
func prefix(s string) (string, error) {
	if !isVariable(s) {
		return "", fmt.Errorf("%s: want letters, digits and \"_\", not beginning with a digit", quote(s))
	}
	return s, nil
}
