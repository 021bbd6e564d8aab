package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"certd/packaging"
)

func TestManPagesSayWhatHelpSays(t *testing.T) {
	t.Parallel()
	root := (&app{}).command()
	pages := manPages(root)
	for _, c := range documented(root) {
		page := string(pages[pageName(c)+".8"])
		if page == "" {
			t.Errorf("%s has no page", c.CommandPath())
		}
		for _, want := range []string{c.Short, firstLine(c.Long), firstLine(strings.TrimSpace(c.Example))} {
			if !strings.Contains(page, roff(want)) {
				t.Errorf("the page of %s does not say %q", c.CommandPath(), want)
			}
		}
		for line := range strings.Lines(c.LocalFlags().FlagUsages()) {
			flag, _, _ := strings.Cut(strings.TrimSpace(line), "   ")
			if !strings.Contains(page, `\fB`+roff(flag)+`\fR`) {
				t.Errorf("the page of %s does not have the flag %q", c.CommandPath(), flag)
			}
		}
		for _, part := range strings.Split(page, "\n.BR ")[1:] {
			if name, _, _ := strings.Cut(part, " "); pages[strings.ReplaceAll(name, `\-`, "-")+".8"] == nil {
				t.Errorf("the page of %s points to %s, which does not exist", c.CommandPath(), name)
			}
		}
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// TestManPagesFormat has groff set every page, where it is installed.
func TestManPagesFormat(t *testing.T) {
	t.Parallel()
	needProgram(t, "groff")
	for name, page := range manPages((&app{}).command()) {
		cmd := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = bytes.NewReader(page)
		if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("groff does not like %s: %v\n%s", name, err, said)
		}
	}
}

func TestManText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"a line that would be a request", ".conf is\n'so' is", "\\&.conf is\n\\(aqso\\(aq is\n"},
		{"characters that roff would change", `a\b --c ~d ^e ` + "`f`", `a\eb \-\-c \(tid \(hae \(gaf\(ga` + "\n"},
		{"an indented block", "Say:\n  one\n  two\nor", "Say:\n.PP\n.nf\n  one\n  two\n.fi\n.PP\nor\n"},
		{"an indented block at the end", "  one", ".PP\n.nf\n  one\n.fi\n"},
		{"paragraphs", "one\n\ntwo\n", "one\n.PP\ntwo\n"},
	} {
		if got := manText(tt.text); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	var b strings.Builder
	manFlags(&b, "OPTIONS", "  -a, --all string   first\n                     second\n      --bare   .dot\n")
	if want := ".SH OPTIONS\n.TP\n\\fB\\-a, \\-\\-all string\\fR\nfirst\nsecond\n.TP\n\\fB\\-\\-bare\\fR\n\\&.dot\n"; b.String() != want {
		t.Errorf("flags: got %q, want %q", b.String(), want)
	}
}

func TestShipped(t *testing.T) {
	t.Parallel()
	usr, local := ship(t, "/usr"), ship(t, "/usr/local")
	for _, name := range []string{
		"lib/systemd/system/certd.timer", "lib/systemd/system/certd.service", "lib/systemd/system/certd-redirector.service",
		"lib/sysusers.d/certd.conf", "lib/tmpfiles.d/certd.conf", "share/bash-completion/completions/certd",
		"share/zsh/site-functions/_certd", "share/fish/vendor_completions.d/certd.fish", "share/man/man8/certd-want.8.gz",
	} {
		for prefix, files := range map[string]map[string]packaging.File{"/usr": usr, "/usr/local": local} {
			f, ok := files[path.Join(prefix, name)]
			if !ok || len(f.Data) == 0 || f.Mode != 0o644 {
				t.Errorf("below %s, %s has %d bytes and mode %v", prefix, name, len(f.Data), f.Mode)
			}
		}
	}
	if unit := string(local["/usr/local/lib/systemd/system/certd.service"].Data); !strings.Contains(unit, "ExecStart=/usr/local/bin/certd ") {
		t.Errorf("the unit below /usr/local starts another certd:\n%s", unit)
	}
	if hook := usr["/usr/lib/acme/hooks/reload"]; hook.Mode != 0o755 {
		t.Errorf("the hook reload has mode %v below /usr", hook.Mode)
	}
	if _, ok := local["/usr/local/lib/acme/hooks/reload"]; ok {
		t.Error("a hook is shipped to /usr/local/lib/acme/hooks, where certd does not look")
	}
	z, err := gzip.NewReader(bytes.NewReader(usr["/usr/share/man/man8/certd.8.gz"].Data))
	if err != nil {
		t.Fatal(err)
	}
	if page, err := io.ReadAll(z); err != nil || !bytes.HasPrefix(page, []byte(".TH CERTD 8 ")) {
		t.Errorf("the page of certd begins with %.20q, %v", page, err)
	}
}

// ship is what shipped returns by path, twice the same.
func ship(t *testing.T, prefix string) map[string]packaging.File {
	t.Helper()
	files, err := shipped(prefix)
	if err != nil {
		t.Fatal(err)
	}
	again, err := shipped(prefix)
	if err != nil || len(again) != len(files) {
		t.Fatalf("a second time: %d files instead of %d, %v", len(again), len(files), err)
	}
	byPath := make(map[string]packaging.File)
	for i, f := range files {
		if again[i].Path != f.Path || !bytes.Equal(again[i].Data, f.Data) {
			t.Errorf("%s is not the same a second time", f.Path)
		}
		byPath[f.Path] = f
	}
	return byPath
}

func TestDocumentedLeavesOutHelp(t *testing.T) {
	t.Parallel()
	root := &cobra.Command{Use: "certd"}
	run := func(*cobra.Command, []string) {}
	root.AddCommand(&cobra.Command{Use: "a", Run: run}, &cobra.Command{Use: "help", Run: run}, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	if got := documented(root); len(got) != 2 || got[1].Name() != "a" {
		t.Errorf("got %d commands, want certd and a", len(got))
	}
}
