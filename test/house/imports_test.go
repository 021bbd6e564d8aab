package house_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImportDirection compares the imports of every package with the picture
// in CONTRIBUTING.md, both ways round: nothing points back, and the picture
// names no package that is gone.
func TestImportDirection(t *testing.T) {
	t.Parallel()
	allowed := picture(t)
	seen := make(map[string]bool)
	for _, p := range list(t) {
		name := p.name()
		seen[name] = true
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the picture: add it to CONTRIBUTING.md, with the one question it answers", name)
			continue
		}
		for _, path := range p.Imports {
			dep, ours := strings.CutPrefix(path, "certd/")
			if ours && !slices.Contains(may, dep) {
				t.Errorf("package %s imports %s, and may import only %q", name, dep, may)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("CONTRIBUTING.md pictures package %s, which does not exist", name)
		}
	}
}

// picture reads the block of CONTRIBUTING.md that starts with "```imports":
// lines such as "plan -> config, state" or "acme -> (nothing of ours)".
func picture(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(data), "```imports\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("CONTRIBUTING.md has no ```imports block")
	}
	allowed := make(map[string][]string)
	for line := range strings.Lines(block) {
		name, list, ok := strings.Cut(line, "->")
		if !ok {
			t.Fatalf("CONTRIBUTING.md: %q is no line of the import picture", line)
		}
		var may []string
		for dep := range strings.SplitSeq(list, ",") {
			if dep = strings.TrimSpace(dep); !strings.HasPrefix(dep, "(") {
				may = append(may, dep)
			}
		}
		allowed[strings.TrimSpace(name)] = may
	}
	return allowed
}

// TestHomesOfLibraries keeps each library in the package whose job it is.
func TestHomesOfLibraries(t *testing.T) {
	t.Parallel()
	homes := []struct {
		library string // import path or its beginning
		home    string // package, or its beginning
	}{
		{"golang.org/x/crypto/acme", "acme"},
		{"github.com/letsencrypt/", "acme/acmetest"},
		{"github.com/miekg/dns", "acme/acmetest or challenge or doctor"},
		{"github.com/spf13/", "cmd/"},
		{"go.yaml.in/yaml/", "config or cmd/certd"}, // settings and targets; answers of the response file,
		{"github.com/prometheus/client_golang/", "metrics"},
		{"github.com/prometheus/common/expfmt", "metrics"},
		{"github.com/robfig/cron/", "config or daemon"}, // the schedule is checked where it is read
		{"github.com/coreos/go-systemd/", "daemon or cmd/"},
		{"golang.org/x/term", "cmd/"},
		{"github.com/AlecAivazis/", "cmd/"},
		{"github.com/rogpeppe/", "(tests only)"},
		{"github.com/creack/pty", "(tests only)"},
		{"testing", "acme/acmetest or challenge/challengetest or state/statetest or test/ports"},
	}
	for _, p := range list(t) {
		for _, path := range p.Imports {
			for _, h := range homes {
				if strings.HasPrefix(path, h.library) && !fits(h.home, p.name()) {
					t.Errorf("package %s imports %s, whose home is %s", p.name(), path, h.home)
				}
			}
		}
	}
}

// fits reports whether name is or lies below one of homes ("a or b").
func fits(homes, name string) bool {
	for home := range strings.SplitSeq(homes, " or ") {
		if strings.HasPrefix(name, home) {
			return true
		}
	}
	return false
}

// TestProductHasNoTestCA keeps what only tests need out of the binary.
func TestProductHasNoTestCA(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		if p.name() != "cmd/certd" {
			continue
		}
		for _, dep := range p.Deps {
			if dep == "testing" || strings.HasSuffix(dep, "/acmetest") || strings.HasSuffix(dep, "/challengetest") || strings.Contains(dep, "/pebble/") {
				t.Errorf("cmd/certd depends on %s", dep)
			}
		}
		return
	}
	t.Error("there is no cmd/certd")
}

// TestNoProvidersInMainModule keeps lego, and the two hundred modules its DNS
// providers bring along, in the module of cmd/certd-dns.
func TestNoProvidersInMainModule(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range []string{"go-acme/lego", "aws/aws-sdk", "Azure/azure-sdk", "cloudflare/cloudflare-go", "certd/cmd/certd-dns"} {
			if strings.Contains(string(data), module) {
				t.Errorf("%s mentions %s: DNS providers belong into cmd/certd-dns, a module of its own", name, module)
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(root, "cmd/certd-dns/go.mod"))
	if err != nil || !strings.Contains(string(data), "\tgithub.com/go-acme/lego/v4 v4.35.2\n") {
		t.Errorf("cmd/certd-dns/go.mod does not pin lego v4.35.2: %v", err)
	}
}
