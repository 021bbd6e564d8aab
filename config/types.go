// Package config is what is wanted: targets (desired/), the default target
// (conf/target) and the settings (conf/certd.yaml).
package config

import "time"

// A Target is one certificate that is wanted: a file of desired/ merged over
// conf/target with acmetool's rules (scalars override, lists replace whole,
// request.challenge.env merges by key, names are never inherited).
type Target struct {
	File string // its name in desired/

	Names  []string // satisfy.names, normalised and sorted; the certificate must cover them and live/ links follow them
	Margin int      // satisfy.margin, days before notAfter; 0 means 30

	RequestNames []string // what is ordered: request.names and Names, normalised and sorted
	CAs          []string // request.ca, or request.provider: names or directory URLs in order of preference; empty means the default CA
	Key          KeyType  // satisfy.key.type or request.key.*; zero means not stipulated
	KeyID        string   // request.key.id: reuse this key; empty means as KeyReuse says
	KeyReuse     bool     // request.key.reuse: go on with the key of the last certificate, and have the next one ready; else a new key for each
	Profile      string   // request.profile; empty means the CA's default
	ProfileWish  bool     // Profile is only preferred: a CA without it is asked for its default
	MustStaple   bool     // request.ocsp-must-staple; refused by most CAs since 2025
	Chain        string   // request.preferred-chain

	Challenge Challenge

	Priority int    // higher owns contested names
	Label    string // gives live/name:label; empty without

	Probe []string // host:port list to verify after a reload
	Files Files

	parts keyParts // what Key was made of, for merging
}

// Challenge is request.challenge of a target.
type Challenge struct {
	Method       string            // webroot, proxy, redirector, listen, stateless, dns, hook; empty means whatever can work
	WebrootPaths []string          // complete challenge directories
	HTTPPorts    []string          // acmetool's http-ports as listen addresses "host:port"; a bare number gave both loopbacks
	TLSPorts     []string          // tls-ports: addresses "host:port" where tls-alpn-01 listens, a bare number giving both loopbacks; empty means challenge.tls-port of every address
	SelfTest     bool              // http-self-test; true unless the file says false
	Env          map[string]string // environment of challenge hooks
	DNSProvider  string            // of certd-dns, for the method dns; empty means hooks
	DNSEnvFile   string            // file with its credentials; empty without
	Delegate     string            // name of the TXT records, for which _acme-challenge of each name is an alias; empty means that the DNS tells
}

// Files is the ownership of published files; zero values mean the defaults of conf/perm.
type Files struct {
	Owner string
	Group string
	Mode  string // octal
}

// A KeyType names an algorithm and its size. The zero value means "not stipulated".
type KeyType struct {
	Algorithm string // "ecdsa" or "rsa"; empty means not stipulated
	Curve     string // of ecdsa: "nistp256", "nistp384", "nistp521"; empty means not stipulated: any will do, new keys get nistp256
	Bits      int    // of rsa: 2048 to 4096; 0 means not stipulated: any will do, new keys get 2048
}

// Settings is conf/certd.yaml. The zero value of a field is its documented default.
type Settings struct {
	Schedule   string        // robfig/cron syntax; "@every 6h"
	Jitter     time.Duration // 30m
	Listen     string        // "127.0.0.1:9402"; empty in the file means off
	Management string        // empty means off
	Responder  string        // empty means only while a challenge runs
	Parallel   int           // orders open at once; 8
	Challenge  ChallengeSettings
	CAs        []CA
	Metrics    MetricsSettings
}

// ChallengeSettings is the challenge section of conf/certd.yaml, for private networks and tests.
type ChallengeSettings struct {
	HTTPPort  int    // where the CA will look and where listen binds; 80
	TLSPort   int    // 443
	ProxyPort int    // 402; 4402 is tried as well when it is 402
	Resolver  string // host:port of the DNS server for certd's own checks; empty means the system's

	DNSCheck     string        // who must show TXT records before the CA is told: "authoritative" servers and DNSResolvers, "resolvers" alone, or "off"; authoritative
	DNSPort      int           // of authoritative servers; 53
	DNSResolvers []string      // host:port of resolvers that must show TXT records, too; none
	DNSSettle    time.Duration // between a TXT record being visible and the CA being told; 2s
}

// A CA is one entry of cas in conf/certd.yaml, or a built-in one.
type CA struct {
	Name        string  // nickname
	Directory   string  // https URL
	Staging     string  // https URL of its staging directory; empty without
	Bundle      string  // ca-bundle: PEM file of roots to trust for its TLS and its chains; empty means the system's
	EABKeyID    string  // eab.kid; empty without
	EABHMACFile string  // eab.hmac-file; base64url MAC key
	Limits      []Limit // limits; nil means those that are known of this CA, empty means none
}

// What the tokens of a Limit are counted by.
const (
	PerAccount = "account" // newOrder requests of one account
	PerDomain  = "domain"  // certificates per registered domain; an IPv4 address is its own, an IPv6 address its /64
	PerNames   = "names"   // certificates per exact set of identifiers, of all accounts
	PerFailure = "failure" // failed authorizations per identifier and account
)

// A Limit is a token bucket that a CA keeps: Burst tokens, refilled evenly over
// Window. It has no meaningful zero value.
type Limit struct {
	Name   string        // in messages and metrics: "certificates-per-domain"
	Per    string        // one of PerAccount, PerDomain, PerNames, PerFailure
	Burst  int           // at least 1
	Window time.Duration // at least a second
}

// MetricsSettings is the metrics section of conf/certd.yaml.
type MetricsSettings struct {
	Textfile string // node_exporter textfile, *.prom; empty means off
	StatsD   string // host:port; empty means off
	Graphite string // host:port; empty means off
	Prefix   string // "certd"
}
