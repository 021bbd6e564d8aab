package house_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinks: what a document points to is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	walk(t, func(name string, data []byte) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, match := range link.FindAllStringSubmatch(string(data), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			target := path.Join(path.Dir(name), match[1])
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s points to %s, which does not exist", name, target)
			}
		}
	})
}

// TestDocumentsNameCommands: a command in a document's code exists, so that
// nobody is told to type what this version does not have.
func TestDocumentsNameCommands(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	use := regexp.MustCompile(`Use:\s+"([a-z-]+)`)
	for _, s := range sources(t) {
		if s.pkg != "cmd/certd" || s.test {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range use.FindAllStringSubmatch(string(data), -1) {
			known[match[1]] = true
		}
	}
	known["completion"] = true // cobra adds it
	const command = `certd (?:--[a-z-]+(?: (?:warn|debug|DIR|FILE))? )*([a-z-]+)`
	inText := regexp.MustCompile("`" + command)
	inBlock := regexp.MustCompile(`(?m)(?:^|sudo |/bin/)` + command)
	walk(t, func(name string, data []byte) {
		if path.Ext(name) != ".md" || name == "CHANGELOG.md" {
			return
		}
		for i, part := range strings.Split(string(data), "```") {
			typed := inText
			if i%2 == 1 {
				typed = inBlock
			}
			for _, match := range typed.FindAllStringSubmatch(part, -1) {
				if !known[match[1]] {
					t.Errorf("%s names the command certd %s, which does not exist", name, match[1])
				}
			}
		}
	})
}
