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
		"Mkdir", "MkdirAll", "MkdirTemp", "Chmod", "Chown", "Lchown", "Chtimes", "CopyFS", "OpenRoot",
	}
	exempt := map[string][]string{
		"challenge": {"Mkdir", "MkdirAll", "Chmod", "OpenRoot"}, // a missing webroot; the files in it are written through os.Root
		"hooks":     {"Mkdir", "Chmod"},                         // a missing hook directory, at installation
		"config":    {"OpenRoot"},                               // reads only
		"packaging": {"MkdirAll", "Remove"},                     // a missing cron.d or tmpfiles.d; units of another kind
		"cmd/certd": {"Mkdir", "Chmod"},                         // the webroot that quickstart was told
	}
	for _, s := range sources(t) {
		if s.helper() || s.pkg == "state" {
			continue
		}
		packages := localNames(s, "os", "io/ioutil", "golang.org/x/sys/unix", "syscall")
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				name := strings.TrimSuffix(n.Sel.Name, "at") // unix.Renameat
				if member(n, packages) && slices.Contains(changing, name) && !slices.Contains(exempt[s.pkg], name) {
					t.Errorf("%s: %s changes the file system; state/ does that (state.ReplaceFile for files elsewhere)", s.at(n), name)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && member(f, packages) && strings.HasPrefix(f.Sel.Name, "Open") && opensForWriting(n) {
					t.Errorf("%s: %s for writing; state/ does that (state.ReplaceFile for files elsewhere)", s.at(n), f.Sel.Name)
				}
			}
			return true
		})
	}
}

// localNames returns the names that s gives to the packages with these import paths.
func localNames(s source, paths ...string) []string {
	var names []string
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !slices.Contains(paths, path) {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names = append(names, name)
	}
	return names
}

// member reports whether expr is packages[i].Something.
func member(expr *ast.SelectorExpr, packages []string) bool {
	id, ok := expr.X.(*ast.Ident)
	return ok && slices.Contains(packages, id.Name)
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
