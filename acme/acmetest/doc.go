// Package acmetest gives tests, and the demo, a CA on the loopback interface.
//
// [Start] runs Pebble in this process, with its own DNS: a CA written by other
// people, which validates over real sockets. [StartFaulty] runs a small CA of
// our own that is correct (RFC 8555) until a [Fault] makes it misbehave in one
// exactly known way; [Faults] is the table of them.
//
// Both listen on TLS with a root made at start ([CA.RootsPEM]), issue from
// another one ([CA.IssuerRootsPEM]), and keep a journal of the requests counted
// at the server ([CA.Requests]).
package acmetest
