package main

import "strings"

// needsDNS01 refuses what only dns-01 can prove while no such method is there:
// wildcards (RFC 8555 §7.1.3 leaves it to CAs, and none accepts http-01 for one)
// and the method itself. Recording them would only give a target that fails.
func needsDNS01(names []string, method string) error {
	for _, name := range names {
		if strings.HasPrefix(name, "*.") {
			return usage("%s: wildcards need dns-01, which this version does not have; name each host instead", name)
		}
	}
	if method == "dns" {
		return usage("--challenge dns: dns-01 is not in this version; use webroot, proxy, redirector, listen, stateless or hook")
	}
	return nil
}
