package house_test

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestOnlyStateWrites: all durable writes are in state/, where one file knows
// how to do them. Elsewhere the functions that change a file system are not
// called, but for the few calls that are named here with their reason.
func TestOnlyStateWrites(t *testing.T) {
	t.Parallel()
	changing := []string{
		"WriteFile", "Rename", "Symlink", "Link", "Create", "CreateTemp", "Remove", "RemoveAll", "Truncate",
		"Mkdir", "MkdirAll", "MkdirTemp", "Chmod", "Chown", "Lchown", "Chtimes", "CopyFS",
	}
	exempt := map[string][]string{
		"challenge": {"Mkdir", "MkdirAll", "Chmod"}, // a missing webroot; the files in it are written through os.Root
		"hooks":     {"Mkdir", "Chmod"},             // a missing hook directory, at installation
	}
	for _, s := range sources(t) {
		if s.helper() || s.pkg == "state" {
			continue
		}
		for _, call := range calls(s, "os", "io/ioutil", "golang.org/x/sys/unix", "syscall") {
			name := call.Fun.(*ast.SelectorExpr).Sel.Name
			switch {
			case slices.Contains(exempt[s.pkg], name):
			case slices.Contains(changing, name), strings.HasSuffix(name, "at") && slices.Contains(changing, strings.TrimSuffix(name, "at")):
				t.Errorf("%s: %s changes the file system; state/ does that (state.ReplaceFile for files elsewhere)", s.at(call), name)
			case name == "OpenFile" && opensForWriting(call):
				t.Errorf("%s: OpenFile for writing; state/ does that (state.ReplaceFile for files elsewhere)", s.at(call))
			}
		}
	}
}

// calls returns the calls of functions of the packages with these import paths.
func calls(s source, paths ...string) []*ast.CallExpr {
	local := make(map[string]bool)
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !slices.Contains(paths, path) {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		local[name] = true
	}
	var found []*ast.CallExpr
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
			if pkg, ok := selector.X.(*ast.Ident); ok && local[pkg.Name] {
				found = append(found, call)
			}
		}
		return true
	})
	return found
}

// opensForWriting reports whether a flag in the arguments of call says so.
func opensForWriting(call *ast.CallExpr) bool {
	writing := false
	for _, arg := range call.Args {
		ast.Inspect(arg, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				writing = writing || slices.Contains([]string{"O_WRONLY", "O_RDWR", "O_CREATE", "O_TRUNC", "O_APPEND"}, id.Name)
			}
			return true
		})
	}
	return writing
}
