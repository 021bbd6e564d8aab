package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report writes everything that was measured as Markdown.
func (m *match) report(out io.Writer, start time.Time) error {
	var b strings.Builder
	m.head(&b, start)
	m.issued(&b)
	m.idleTables(&b)
	m.programs(&b)
	m.goals(&b)
	m.notesOf(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

func (m *match) head(b *strings.Builder, start time.Time) {
	fmt.Fprintf(b, `# Benchmarks

certd beside other ACME clients: in one run, on one machine, at one CA. `+"`make bench`"+` measures it all anew and writes this
page; on Debian and Ubuntu, as root, it installs the other clients first.

%s, %s, %d minutes for all of it. The machine is shared: take differences of a fifth for nothing, and look at the ratios.

The CA is Pebble in the bench's own process, over TLS on the loopback interface, without rejected nonces, reused
authorizations, Retry-After or pauses before validation. Challenges are http-01, answered from one webroot; keys are ECDSA P-256;
each certificate has one name. Every client has its own directory on the same disk, an account, and has obtained one
certificate before it is measured. Times are medians; in brackets: how many times certd's.
`, start.UTC().Format("2006-01-02"), machine(), int(time.Since(start).Minutes())+1)
	b.WriteString("\n| client | version | many certificates |\n| --- | --- | --- |\n")
	for _, r := range m.rows {
		fmt.Fprintf(b, "| %s | %s | %s |\n", r.name, orDash(r.versionText), r.client.batch)
	}
}

// issued has the tables of requests and times of issuance.
func (m *match) issued(b *strings.Builder) {
	us := m.rows[0]
	fmt.Fprintf(b, "\n## Obtaining certificates\n\nRequests to the CA per certificate; seconds until everything is on disk. A client that works on one after\nanother and would take more than %s for a batch has a smaller one, and its time is scaled up.\n\n", round(m.Patience))
	fmt.Fprintf(b, "| client | requests, 1 | requests, 20 | seconds, 1 | seconds, %d | per certificate |\n| --- | --- | --- | --- | --- | --- |\n", m.Batch)
	for _, r := range m.rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", r.name, requests(r.one), requests(r.twenty), m.time(r.one, us.one, 1),
			m.time(r.batch, us.batch, m.Batch), perCertificate(r.batch))
	}
}

// requests is the number of requests per certificate.
func requests(c cell) string {
	if c.n == 0 {
		return "-"
	}
	text := fmt.Sprintf("%.1f", c.perCertificate(c.n))
	if c.n < 20 && c.n > 1 {
		text += fmt.Sprintf(" (of %d)", c.n)
	}
	return text
}

// time is a time scaled to n certificates, and its ratio to ours.
func (m *match) time(c, ours cell, n int) string {
	if c.n == 0 {
		return "-"
	}
	scaled := c.scaled(n)
	text := seconds(scaled) + ratio(scaled, ours.scaled(n))
	if c.n < n {
		text += fmt.Sprintf(", from %d", c.n)
	}
	return text
}

func (c cell) scaled(n int) time.Duration {
	if c.n == 0 {
		return 0
	}
	return c.wall * time.Duration(n) / time.Duration(c.n)
}

func perCertificate(c cell) string {
	if c.n == 0 {
		return "-"
	}
	return seconds(c.wall / time.Duration(c.n))
}

// idleTables have the runs with nothing to do.
func (m *match) idleTables(b *strings.Builder) {
	b.WriteString("\n## A run with nothing to do\n\nNone of the certificates is due. They were made by a throw-away CA and laid out in each client's own format; that a client\ntakes them for good is checked by what it says, and by the CA, which gets no order. Processor time is user and system together,\nmemory the peak of the largest process. Of these clients only certd asks the CA when to renew (RFC 9773), one request per certificate\nevery few hours; it has done so in a run before, and that one is not counted here.\n")
	us := m.rows[0]
	for _, n := range m.Sizes {
		fmt.Fprintf(b, "\n%d certificates:\n\n| client | seconds | processor seconds | memory, MB | requests | runs |\n| --- | --- | --- | --- | --- | --- |\n", n)
		for _, r := range m.rows {
			c := r.nothing[n]
			switch {
			case r.upTo > 0 && n > r.upTo:
			case c.n == 0:
				fmt.Fprintf(b, "| %s | - | - | - | - | - |\n", r.name)
			default:
				fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %d |\n", r.name, seconds(c.wall)+ratio(c.wall, us.nothing[n].wall),
					seconds(c.cpu)+ratio(c.cpu, us.nothing[n].cpu), megabytes(c.memory), len(c.requests), c.runs)
			}
		}
	}
}

func (m *match) programs(b *strings.Builder) {
	b.WriteString("\n## The program\n\n| client | size, MB | also needs | start, ms |\n| --- | --- | --- | --- |\n")
	for _, r := range m.rows {
		if r.size == 0 {
			fmt.Fprintf(b, "| %s | - | - | - |\n", r.name)
			continue
		}
		fmt.Fprintf(b, "| %s | %.1f | %s | %.1f%s |\n", r.name, float64(r.size)/1e6, orDash(r.also), r.start.Seconds()*1000, ratio(r.start, m.rows[0].start))
	}
}

// notesOf says why something is missing.
func (m *match) notesOf(b *strings.Builder) {
	first := true
	for _, r := range m.rows {
		for _, note := range r.notes {
			if first {
				b.WriteString("\n## Not measured\n\n")
				first = false
			}
			fmt.Fprintf(b, "- %s: %s\n", r.name, strings.Join(strings.Fields(strings.ReplaceAll(note, m.dir, "...")), " "))
		}
	}
	b.WriteString("\n## How clients are treated\n\n" +
		"- Each trusts the CA by its own variable or option; where it has none, the CA's root is mounted among the system's for the bench alone.\n" +
		"- Pebble's challenge dns-persist-01 is taken out of authorizations, because uacme 1.7 gives up on a challenge without token.\n" +
		"- Random pauses before renewals are switched off (certbot, lego), acmetool's self-test of challenges is, too; certd's is on.\n" +
		"- lego takes a tenth of a second or some seconds, as its first look at an authorization comes late enough or not.\n" +
		"- Where a client has no command for many certificates, its processes run one after another, and their times are added.\n")
}

func seconds(d time.Duration) string {
	switch s := d.Seconds(); {
	case s >= 10:
		return fmt.Sprintf("%.0f", s)
	case s >= 1:
		return fmt.Sprintf("%.1f", s)
	default:
		return fmt.Sprintf("%.3f", s)
	}
}

// ratio is how many times ours a time is.
func ratio(d, ours time.Duration) string {
	if ours <= 0 || d == ours {
		return ""
	}
	times := float64(d) / float64(ours)
	if times >= 10 {
		return fmt.Sprintf(" (%.0fx)", times)
	}
	return fmt.Sprintf(" (%.1fx)", times)
}

func megabytes(kb int) string {
	if kb == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", float64(kb)/1000)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func round(d time.Duration) string { return fmt.Sprintf("%.0f seconds", d.Seconds()) }
