package house_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The bounds we hold ourselves to.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxMethods       = 3
)

// TestSizes bounds the longest file, function and interface.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: split it by the question it answers", s.path, s.lines, maxFileLines)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if length := s.length(n); length > maxFunctionLines && !s.test {
					t.Errorf("%s: %s has %d lines, more than %d", s.at(n), n.Name.Name, length, maxFunctionLines)
				}
			case *ast.InterfaceType:
				if count := n.Methods.NumFields(); count > maxMethods && !s.test {
					t.Errorf("%s: an interface of %d methods, more than %d", s.at(n), count, maxMethods)
				}
			}
			return true
		})
	}
}

// TestNoInitNoGlobals: nothing happens on import, and nothing is shared but
// sentinel errors. Functions made by sync.OnceValue and embedded files never
// change either; a program's version is set by the linker.
func TestNoInitNoGlobals(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init", s.at(f))
			}
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.VAR || s.test || embeds(general) {
				continue
			}
			for _, spec := range general.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					version := (s.pkg == "cmd/certd" || s.pkg == "cmd/certd-dns") && name.Name == "version"
					lock := s.helper() && isSelector(v.Type, "sync", "Mutex") // Pebble reads the environment of the process
					if !constant(v, i) && !version && !lock {
						t.Errorf("%s: package variable %s", s.at(name), name.Name)
					}
				}
			}
		}
	}
}

// embeds reports whether decl is filled by a go:embed directive.
func embeds(decl *ast.GenDecl) bool {
	return decl.Doc != nil && slices.ContainsFunc(decl.Doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// constant reports whether the i-th variable of v never changes: a sentinel
// error, an interface check, or a function made by sync.OnceValue(s).
func constant(v *ast.ValueSpec, i int) bool {
	name := v.Names[i].Name
	if name == "_" {
		return true
	}
	if i >= len(v.Values) {
		return false
	}
	call, ok := v.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	sentinel := strings.HasPrefix(strings.ToLower(name), "err") && slices.Contains([]string{"New", "Errorf"}, selector.Sel.Name)
	return sentinel || strings.HasPrefix(selector.Sel.Name, "OnceValue")
}

// TestContexts: a context is the first parameter and never a field.
func TestContexts(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.StructType:
				for _, field := range n.Fields.List {
					if isSelector(field.Type, "context", "Context") {
						t.Errorf("%s: a context kept in a struct", s.at(field))
					}
				}
			case *ast.FuncType:
				for i, param := range n.Params.List {
					if i > 0 && isSelector(param.Type, "context", "Context") {
						t.Errorf("%s: the context is not the first parameter", s.at(param))
					}
				}
			}
			return true
		})
	}
}

// isSelector reports whether expr reads pkg.name.
func isSelector(expr ast.Expr, pkg, name string) bool {
	selector, ok := expr.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	id, ok := selector.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// TestDocumented: every package and every exported name says what it is.
func TestDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		if p.Doc == "" {
			t.Errorf("package %s has no package comment", p.name())
		}
	}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%s: %s is exported and has no comment", s.at(name), name.Name)
			}
		}
	}
}

// undocumented returns the exported names that decl declares without a comment.
func undocumented(decl ast.Decl) []*ast.Ident {
	// Methods whose meaning their interface fixes.
	conventional := []string{
		"Error", "Unwrap", "Is", "As", "String", "GoString", "LogValue", "Len", "Less", "Swap", "ServeHTTP", "RoundTrip",
		"Read", "Write", "Close", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalYAML", "UnmarshalYAML",
	}
	if f, ok := decl.(*ast.FuncDecl); ok {
		if f.Doc != nil || !f.Name.IsExported() || f.Recv != nil && (slices.Contains(conventional, f.Name.Name) || !exportedReceiver(f)) {
			return nil
		}
		return []*ast.Ident{f.Name}
	}
	general, ok := decl.(*ast.GenDecl)
	if !ok || general.Tok == token.IMPORT {
		return nil
	}
	var bare []*ast.Ident
	for _, spec := range general.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && spec.Doc == nil && general.Doc == nil {
				bare = append(bare, spec.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && spec.Doc == nil && spec.Comment == nil && general.Doc == nil {
					bare = append(bare, name)
				}
			}
		}
	}
	return bare
}

// exportedReceiver reports whether f is a method of an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}

// TestNothingUnfinished: no file says that its work is still to be done.
func TestNothingUnfinished(t *testing.T) {
	t.Parallel()
	words := regexp.MustCompile(`\b(?:TO` + `DO|FIX` + `ME|XX` + `X|(?i:st` + `ubs?|unimple` + `mented|not imple` + `mented))\b`)
	binary := []string{".sum", ".png", ".gz", ".der"}
	walk(t, func(name string, data []byte) {
		if slices.Contains(binary, path.Ext(name)) {
			return
		}
		for i, line := range strings.Split(string(data), "\n") {
			if word := words.FindString(line); word != "" {
				t.Errorf("%s:%d: says %q", name, i+1, word)
			}
		}
	})
}
