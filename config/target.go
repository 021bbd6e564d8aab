package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNames bounds the names of one target.
const maxNames = 1000

// ParseTarget reads the target file desired/<file> with content data over the
// defaults in base, as acmetool does: what the file says overrides, lists
// replace lists whole, request.challenge.env is merged by key, and names are
// never inherited. Without satisfy.names the file's own name is the name, so
// an empty file is a full target. A nil base stands for certd's own defaults.
// The error holds every Mistake of the file.
func ParseTarget(file string, data []byte, base *Target) (*Target, error) {
	path := "desired/" + quoteless(file)
	if err := checkFile(file); err != nil {
		return nil, &Mistake{File: path, Text: err.Error()}
	}
	t := inherit(base)
	t.File = file
	d := t.read(path, data)
	t.settleNames(d)
	t.settleLiveNames(d)
	if err := d.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// ParseDefault reads conf/target, whose path for messages is path. The values
// of acmetool's older files conf/webroot-path and conf/rsa-key-size (nil and
// 0 if absent) count where conf/target has none. Names in it are checked, but
// no target inherits them.
func ParseDefault(path string, data []byte, legacyWebroots []string, legacyRSABits int) (*Target, error) {
	t := inherit(nil)
	d := t.read(path, data)
	t.Names, t.RequestNames = nil, nil
	if len(legacyWebroots) > 0 && !d.given("request.challenge.webroot-paths") {
		t.Challenge.WebrootPaths = slices.Clone(legacyWebroots)
	}
	if legacyRSABits > 0 && !d.given("request.key.rsa-size") && t.parts.curve == "" {
		t.parts.bits = min(max(legacyRSABits, minRSABits), maxRSABits)
		t.settleKey(d)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// inherit returns a deep copy of base without its names.
func inherit(base *Target) *Target {
	if base == nil {
		return &Target{Challenge: Challenge{SelfTest: true}}
	}
	t := *base
	t.File, t.Names, t.RequestNames = "", nil, nil
	t.CAs = slices.Clone(base.CAs)
	t.Probe = slices.Clone(base.Probe)
	t.Challenge.WebrootPaths = slices.Clone(base.Challenge.WebrootPaths)
	t.Challenge.HTTPPorts = slices.Clone(base.Challenge.HTTPPorts)
	t.Challenge.TLSPorts = slices.Clone(base.Challenge.TLSPorts)
	t.Challenge.Env = maps.Clone(base.Challenge.Env)
	if t.parts == (keyParts{}) {
		t.parts = keyParts{request: t.Key.Algorithm, bits: t.Key.Bits, curve: t.Key.Curve}
	}
	return &t
}

// read decodes data over t and settles what several keys decide together,
// but for the names.
func (t *Target) read(path string, data []byte) *decoder {
	if len(data) == 0 { // as most target files are
		d := &decoder{file: path}
		t.settleKey(d)
		return d
	}
	var provider, legacyProvider string
	var cas, legacyNames []string
	s := t.schema()
	s["request.ca"] = into(&cas, authorities)
	s["request.provider"] = into(&provider, checked(httpsURL))
	s["provider"] = into(&legacyProvider, checked(httpsURL))
	s["names"] = into(&legacyNames, list(maxNames, name))
	d := decode(path, data, s)
	if d.given("names") && d.given("satisfy.names") {
		d.complainAt("names", "is the old place of satisfy.names, which is given, too; keep satisfy.names")
	} else if d.given("names") {
		t.Names = legacyNames
	}
	t.settleCAs(d, cas, provider, legacyProvider)
	t.settleReuse(d)
	t.settleKey(d)
	return d
}

// settleCAs makes one list of request.ca, request.provider and provider.
func (t *Target) settleCAs(d *decoder, cas []string, provider, legacyProvider string) {
	keys := slices.DeleteFunc([]string{"request.ca", "request.provider", "provider"},
		func(k string) bool { return !d.given(k) })
	switch {
	case len(keys) == 0:
		return
	case len(keys) > 1:
		d.complainAt(keys[1], "says the same as %s, which is given, too; keep one", keys[0])
	case keys[0] == "request.ca":
		t.CAs = cas
	default:
		t.CAs = slices.DeleteFunc([]string{provider + legacyProvider}, func(s string) bool { return s == "" })
	}
}

// settleReuse makes request.key.id and request.key.reuse override each other.
func (t *Target) settleReuse(d *decoder) {
	reuse := t.KeyReuse && (d.given("request.key.reuse") || d.given("request.key"))
	switch id := t.KeyID != "" && d.given("request.key.id"); {
	case id && reuse:
		d.complainAt("request.key.id", "names one key for good, and request.key.reuse is about keys that certd makes; keep one")
	case id:
		t.KeyReuse = false
	case reuse:
		t.KeyID = ""
	}
}

// settleKey makes the key type of its parts.
func (t *Target) settleKey(d *decoder) {
	key, err := t.parts.keyType()
	if err != nil {
		key := "request.key.rsa-size"
		if !d.given(key) {
			key = "request.key.ecdsa-curve"
		}
		d.complainAt(key, "%v", err)
	}
	t.Key = key
}

// settleNames fills in the names that are not given, and sorts them.
func (t *Target) settleNames(d *decoder) {
	given := d.given("satisfy.names") || d.given("names")
	if d.broken || given && len(t.Names) == 0 && len(d.mistakes) > 0 {
		return // reported already
	}
	if len(t.Names) == 0 {
		n, err := ParseName(t.File)
		if err != nil {
			d.complain(0, "", "no satisfy.names, and the file's own name is not one: %v", err)
			return
		}
		t.Names = []string{n}
	}
	t.Names = sorted(t.Names)
	t.RequestNames = sorted(append(slices.Clone(t.Names), t.RequestNames...))
	if len(t.RequestNames) > maxNames {
		d.complainAt("request.names", "with satisfy.names these are %d names; at most %d are accepted", len(t.RequestNames), maxNames)
	}
}

// settleLiveNames checks that every live name can be a file name and means one thing.
func (t *Target) settleLiveNames(d *decoder) {
	for _, n := range t.Names {
		if t.Label != "" && strings.Contains(n, ":") {
			d.complainAt("label", "cannot be combined with the IPv6 address %s: live/%s would be ambiguous", n, t.LiveName(n))
		} else if len(t.LiveName(n)) > 255 {
			d.complainAt("label", "with the name %s it is longer than a file name may be (255 bytes)", n)
		}
	}
}

// checkFile checks the name of a file of desired/, which also names
// attempts/<file>.json and is handed to hooks.
func checkFile(file string) error {
	if _, err := fileName(file); err != nil {
		return fmt.Errorf("file name: %w; rename it", err)
	}
	return nil
}

func fileName(s string) (string, error) {
	switch {
	case s == "" || strings.HasPrefix(s, ".") || strings.HasPrefix(s, "-"):
		return "", fmt.Errorf("%s is empty or begins with a dot or a hyphen", quote(s))
	case len(s) > 240:
		return "", fmt.Errorf("%s is longer than 240 bytes", quote(s))
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r == '\\' || r == 0x7f || r == 0xfffd }):
		return "", fmt.Errorf("%s has white space, a slash or unreadable characters", quote(s))
	}
	return s, nil
}

// quoteless is a file name as messages show it.
func quoteless(file string) string {
	if checkFile(file) == nil {
		return file
	}
	return quote(file)
}

// sorted returns the names sorted, each once.
func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// FirstName is the name a target is called by: the first in alphabetical
// order that is no wildcard, else the first. It is empty without names.
func (t *Target) FirstName() string {
	for _, n := range t.Names {
		if !strings.HasPrefix(n, "*.") {
			return n
		}
	}
	if len(t.Names) == 0 {
		return ""
	}
	return t.Names[0]
}

// LiveName is what the link of name in live/ is called: "name", or
// "name:label" if the target has a label.
func (t *Target) LiveName(name string) string {
	if t.Label == "" {
		return name
	}
	return name + ":" + t.Label
}

// Digest is a hash of everything that decides whether an order can succeed:
// names, key, CAs, profile and challenge. When it changes, the failures so far
// say nothing any more and the target starts afresh. It does not change with
// margin, priority, label, probe or files.
func (t *Target) Digest() string {
	data, err := json.Marshal(struct {
		Names, Request, CAs  []string
		Key, KeyID           string
		Profile, Chain       string
		MustStaple, SelfTest bool
		Method               string
		Webroots, Ports      []string
		Env                  map[string]string
		Provider             string
		EnvFile              string
		Delegate             string
		TLSPorts             []string `json:",omitempty"` // this and the rest are younger than the digests on disk
		KeyReuse             bool     `json:",omitempty"`
		ProfileWish          bool     `json:",omitempty"`
	}{
		t.Names, t.RequestNames, t.CAs, t.Key.String(), t.KeyID, t.Profile, t.Chain, t.MustStaple,
		t.Challenge.SelfTest, t.Challenge.Method, t.Challenge.WebrootPaths, t.Challenge.HTTPPorts,
		t.Challenge.Env, t.Challenge.DNSProvider, t.Challenge.DNSEnvFile, t.Challenge.Delegate,
		t.Challenge.TLSPorts, t.KeyReuse, t.ProfileWish,
	})
	if err != nil {
		return "" // strings, lists and maps of strings always marshal
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// name reads one name.
func name(v value) (string, bool) { return checked(ParseName)(v) }

// authorities reads request.ca: one name or URL, or a list of them.
func authorities(v value) ([]string, bool) {
	one := checked(authority)
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		s, ok := one(v)
		return slices.DeleteFunc([]string{s}, func(s string) bool { return s == "" }), ok
	}
	return list(16, one)(v)
}

// authority accepts a nickname of a CA or its directory URL.
func authority(s string) (string, error) {
	if strings.Contains(s, "/") {
		return httpsURL(s)
	}
	return nickname(s)
}

// port reads an entry of http-ports or tls-ports: a port means both loopback addresses.
func port(s string) ([]string, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 65535 {
			return nil, fmt.Errorf("port %d: want 1 to 65535", n)
		}
		p := strconv.Itoa(n)
		return []string{net.JoinHostPort("127.0.0.1", p), net.JoinHostPort("::1", p)}, nil
	}
	s, err := hostPort(s)
	return []string{s}, err
}

// ports reads http-ports and tls-ports.
func ports(v value) ([]string, bool) {
	entries, ok := list(64, checked(port))(v)
	return slices.Concat(entries...), ok
}

// environment returns a reader of request.challenge.env that adds to *env.
func environment(env *map[string]string) func(value) {
	return func(v value) {
		if isNull(v.node) || v.node.Kind != yaml.MappingNode {
			v.mapping(v.node, v.key+".", "", nil)
			return
		}
		seen := map[string]int{}
		for i := 0; i+1 < len(v.node.Content); i += 2 {
			k, e := v.node.Content[i], value{decoder: v.decoder, node: v.node.Content[i+1]}
			e.key = v.key + "." + plain(k.Value)
			first := seen[k.Value]
			switch {
			case k.Tag == "!!merge":
				e.complain(k.Line, v.key, "merge key \"<<\": merge keys are refused; write the keys out")
			case k.Kind != yaml.ScalarNode || !isVariable(k.Value):
				e.complain(k.Line, e.key, "is no name of an environment variable; want letters, digits and \"_\"")
			case first > 0:
				e.complain(k.Line, e.key, "given twice, first in line %d; keep one", first)
			case e.node.Kind != yaml.AliasNode:
				seen[k.Value] = k.Line
				e.variable(env, k.Value)
			}
		}
	}
}

// variable stores one environment variable.
func (v value) variable(env *map[string]string, key string) {
	s, ok := v.scalar("text, \"\" for an empty one")
	if !ok {
		return
	}
	if strings.Contains(s, "\x00") || len(s) > 1<<16 {
		v.refuse("want text of at most 64 KiB without NUL")
		return
	}
	if *env == nil {
		*env = map[string]string{}
	}
	(*env)[key] = s
}

func isVariable(s string) bool {
	if s == "" || len(s) > 128 || '0' <= s[0] && s[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !letterOrDigit(r) && r != '_' })
}

// hostList reads a list of host:port.
func hostList(v value) ([]string, bool) { return list(64, checked(remote))(v) }

// errNotOctal is the refusal of a file mode.
var errNotOctal = errors.New("want an octal mode of at most 0664 without the execute bits and not writable by others, such as 0640")

// mode accepts the mode of published files.
func mode(s string) (string, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n > 0o664 || n&0o113 != 0 || n&0o600 != 0o600 {
		return "", fmt.Errorf("%s: %w", quote(s), errNotOctal)
	}
	return fmt.Sprintf("%04o", n), nil
}
