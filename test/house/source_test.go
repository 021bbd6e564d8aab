// Package house_test holds the tree to its own rules: who may import whom, who
// may write, and how long things get. CONTRIBUTING.md states the rules.
package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// A source is one parsed Go file of the main module.
type source struct {
	path  string // relative to the root, with slashes
	pkg   string // its directory, such as "acme/acmetest"
	test  bool   // a _test.go file
	lines int
	fset  *token.FileSet
	file  *ast.File
}

// at says where node is, for failure messages.
func (s source) at(node ast.Node) string {
	position := s.fset.Position(node.Pos())
	position.Filename = s.path
	position.Column = 0
	return position.String()
}

// length is how many lines node takes, its doc comment not counted.
func (s source) length(node ast.Node) int {
	return s.fset.Position(node.End()).Line - s.fset.Position(node.Pos()).Line + 1
}

// helper reports whether the file helps tests: a test file, or part of a
// package that only tests and the demo use.
func (s source) helper() bool {
	return s.test || strings.HasSuffix(s.pkg, "test") || s.pkg == "cmd/certd-demo" || strings.HasPrefix(s.pkg, "test/")
}

// sources parses every Go file of the main module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(path string, data []byte) {
		if !strings.HasSuffix(path, ".go") || strings.HasPrefix(path, "tools/") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, data, parser.ParseComments)
		if err != nil {
			t.Fatalf("parse %s: %v", path, err)
		}
		all = append(all, source{
			path:  path,
			pkg:   filepath.ToSlash(filepath.Dir(path)),
			test:  strings.HasSuffix(path, "_test.go"),
			lines: bytes.Count(data, []byte("\n")),
			fset:  fset,
			file:  file,
		})
	})
	if len(all) < 10 {
		t.Fatalf("found %d Go files below %s: the walk is broken", len(all), root)
	}
	return all
}

// walk calls visit for every file of the tree that people wrote.
func walk(t *testing.T, visit func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we walk
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", "testdata"}, d.Name()) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			visit(filepath.ToSlash(name), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A listed is what `go list -json` says about a package of ours.
type listed struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// name is the package's path in the module, such as "acme/acmetest".
func (l listed) name() string { return strings.TrimPrefix(l.ImportPath, "certd/") }

// list returns the packages of the main module that have non-test files.
func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-buildvcs=false", "-json=ImportPath,Doc,GoFiles,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var one listed
		if err := decoder.Decode(&one); err != nil {
			t.Fatalf("go list: %v", err)
		}
		if len(one.GoFiles) > 0 {
			all = append(all, one)
		}
	}
	return all
}
