package config

import (
	"fmt"
	"strconv"
	"strings"
)

// The range of RSA key sizes in bits that are accepted, as acmetool had it.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// ParseKeyType reads "ecdsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521",
// "rsa", or "rsa-" and a size from 2048 to 4096 bits. Without curve or size
// the key type does not stipulate one. Empty text gives the zero value.
func ParseKeyType(s string) (KeyType, error) {
	switch s {
	case "":
		return KeyType{}, nil
	case "ecdsa", "rsa":
		return KeyType{Algorithm: s}, nil
	case "ecdsa-p256", "ecdsa-p384", "ecdsa-p521":
		return KeyType{Algorithm: "ecdsa", Curve: "nist" + strings.TrimPrefix(s, "ecdsa-")}, nil
	}
	if size, ok := strings.CutPrefix(s, "rsa-"); ok {
		n, err := strconv.Atoi(size)
		if err == nil && n >= minRSABits && n <= maxRSABits && size == strconv.Itoa(n) {
			return KeyType{Algorithm: "rsa", Bits: n}, nil
		}
		return KeyType{}, fmt.Errorf("key type %s: want rsa- and a size from %d to %d", quote(s), minRSABits, maxRSABits)
	}
	known := []string{"ecdsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa", "rsa-2048", "rsa-3072", "rsa-4096"}
	hint := "want " + strings.Join(known, ", ")
	if word := nearest(s, known); word != "" {
		hint = "did you mean " + word + "?"
	}
	return KeyType{}, fmt.Errorf("key type %s is unknown; %s", quote(s), hint)
}

// String returns the key type as ParseKeyType reads it and as
// state.Certificate.KeyType has it: "ecdsa-p256", "rsa-2048"; empty for the
// zero value. A curve or size that is not stipulated is written as its default.
func (k KeyType) String() string {
	switch k.Algorithm {
	case "ecdsa":
		if k.Curve == "" {
			return "ecdsa-p256"
		}
		return "ecdsa-" + strings.TrimPrefix(k.Curve, "nist")
	case "rsa":
		if k.Bits == 0 {
			return "rsa-2048"
		}
		return "rsa-" + strconv.Itoa(k.Bits)
	}
	return ""
}

// Satisfied reports whether a key of type have, such as "rsa-4096", is what
// is wanted: the algorithm, and the curve or size if one is stipulated. The
// zero value is satisfied by every key.
func (k KeyType) Satisfied(have string) bool {
	if k.Algorithm == "" {
		return true
	}
	if (k.Algorithm == "ecdsa" && k.Curve == "") || (k.Algorithm == "rsa" && k.Bits == 0) {
		algorithm, _, _ := strings.Cut(have, "-")
		return algorithm == k.Algorithm
	}
	return k.String() == have
}

// keyParts are the keys that a KeyType is made of. They are merged one by one
// with those of conf/target, so they are kept apart.
type keyParts struct {
	satisfy string // satisfy.key.type
	request string // request.key.type
	bits    int    // request.key.rsa-size
	curve   string // request.key.ecdsa-curve
}

// keyType puts the parts together as acmetool did: satisfy.key.type wins.
// Without either type, a size alone means RSA and a curve alone means ECDSA.
func (p keyParts) keyType() (KeyType, error) {
	algorithm := p.satisfy
	if algorithm == "" {
		algorithm = p.request
	}
	switch {
	case algorithm == "rsa", algorithm == "" && p.bits != 0 && p.curve == "":
		return KeyType{Algorithm: "rsa", Bits: p.bits}, nil
	case algorithm == "ecdsa", algorithm == "" && p.curve != "" && p.bits == 0:
		return KeyType{Algorithm: "ecdsa", Curve: p.curve}, nil
	case algorithm == "" && p.curve != "":
		return KeyType{}, fmt.Errorf("both rsa-size and ecdsa-curve are set (conf/target counts); add type: rsa or type: ecdsa")
	}
	return KeyType{}, nil
}

// keyAlgorithm reads the key type of a target file.
func keyAlgorithm(s string) (string, error) { return oneOf(s, "key type", "rsa", "ecdsa") }

// keyCurve reads the curve of a target file.
func keyCurve(s string) (string, error) {
	return oneOf(s, "curve", "nistp256", "nistp384", "nistp521")
}

// ParseMethod checks the name of a challenge method: webroot, proxy,
// redirector, listen, stateless, dns or hook. Empty text is accepted and
// means whatever can work.
func ParseMethod(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return oneOf(s, "challenge method", "webroot", "proxy", "redirector", "listen", "stateless", "dns", "hook")
}

// oneOf accepts the known words.
func oneOf(s, what string, known ...string) (string, error) {
	for _, k := range known {
		if s == k {
			return s, nil
		}
	}
	if word := nearest(s, known); word != "" {
		return "", fmt.Errorf("%s %s is unknown; did you mean %s?", what, quote(s), word)
	}
	return "", fmt.Errorf("%s %s is unknown; want %s or %s", what, quote(s),
		strings.Join(known[:len(known)-1], ", "), known[len(known)-1])
}
