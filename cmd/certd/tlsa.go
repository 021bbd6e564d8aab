package main

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"certd/daemon"
)

type tlsaRow struct {
	Name    string  `json:"name"`
	Label   *string `json:"label"`
	Record  string  `json:"record"`  // owner name of the DNS record
	Current *string `json:"current"` // record data
	Next    *string `json:"next"`
}

func (a *app) tlsaCommand() *cobra.Command {
	var port int
	var proto, format string
	c := &cobra.Command{
		Use:   "tlsa [NAME...]",
		Short: "Print TLSA records of the present keys and of the next ones",
		Long: `Prints DNS records "3 1 1" (RFC 6698: this very key, by its SHA-256) of the keys that
are live and, for targets with request.key.reuse, of those that come next: publish
both, always. Without request.key.reuse each renewal has another key, which nobody can
know before. Only reads, and needs no right to read keys.`,
		Example: `  certd tlsa mail.example.com --port 25
  certd tlsa -o json`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(format); err != nil {
				return err
			}
			if port < 1 || port > 65535 || proto != "tcp" && proto != "udp" && proto != "sctp" {
				return usage("tlsa: want --port 1 to 65535, and --proto tcp, udp or sctp")
			}
			view, err := a.lookOrSay(format, args)
			if view == nil {
				return err
			}
			names, err := selectNames(view.Status(), args)
			if err != nil {
				return err
			}
			rows := tlsaRows(names, view, fmt.Sprintf("_%d._%s.", port, proto))
			if format == "json" {
				return a.printJSON(rows)
			}
			a.printTLSA(rows)
			return nil
		},
		ValidArgsFunction: a.completeNames(liveTargetNames),
	}
	c.Flags().IntVar(&port, "port", 443, "of the service")
	c.Flags().StringVar(&proto, "proto", "tcp", "of the service: tcp, udp or sctp")
	completeValues(c, "proto", "tcp", "udp", "sctp")
	outputFlag(c, &format)
	return c
}

// tlsaRows leaves names out that have no key, and IP addresses, which have no
// place in the DNS.
func tlsaRows(names []daemon.NameStatus, view *daemon.View, prefix string) []tlsaRow {
	rows := []tlsaRow{}
	for _, s := range names {
		row := tlsaRow{Name: s.Name, Label: textOrNull(s.Label), Record: prefix + s.Name + "."}
		if s.Certificate != nil {
			row.Current = tlsaData(s.Certificate.KeyID)
		}
		if staged, ok := view.Snapshot.Staged[s.Target]; ok && s.Target != "" && (s.Certificate == nil || staged.KeyID != s.Certificate.KeyID) {
			row.Next = tlsaData(staged.KeyID)
		}
		if _, err := netip.ParseAddr(s.Name); err != nil && (row.Current != nil || row.Next != nil) {
			rows = append(rows, row)
		}
	}
	return rows
}

// tlsaData is the record's data for a key: its ID is the SHA-256 that is wanted.
func tlsaData(keyID string) *string {
	sum, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(keyID))
	if err != nil || len(sum) != 32 {
		return nil
	}
	text := "3 1 1 " + hex.EncodeToString(sum)
	return &text
}

func (a *app) printTLSA(rows []tlsaRow) {
	for _, row := range rows {
		if row.Current != nil {
			fmt.Fprintf(a.out, "%s IN TLSA %s ; in use\n", row.Record, *row.Current)
		}
		if row.Next != nil {
			fmt.Fprintf(a.out, "%s IN TLSA %s ; next\n", row.Record, *row.Next)
		}
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "; no name has a key yet")
	}
}
