package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// NewTarget is what `certd want` can say of a new target. Only Names must be set.
type NewTarget struct {
	Names     []string // one certificate with all of them; normalised here
	Label     string   // gives live/name:label
	KeyType   string   // as ParseKeyType reads it; empty means as conf/target says
	Profile   string   // empty means as conf/target says
	Challenge string   // as ParseMethod reads it; empty means as conf/target says
}

// targetFile is the YAML of a new target: nothing but what was asked for, so
// that everything else goes on to follow conf/target.
type targetFile struct {
	Satisfy struct {
		Names []string `yaml:"names"`
		Key   struct {
			Type string `yaml:"type,omitempty"`
		} `yaml:"key,omitempty"`
	} `yaml:"satisfy"`
	Request struct {
		Key struct {
			Bits  int    `yaml:"rsa-size,omitempty"`
			Curve string `yaml:"ecdsa-curve,omitempty"`
		} `yaml:"key,omitempty"`
		Profile   string `yaml:"profile,omitempty"`
		Challenge struct {
			Method string `yaml:"method,omitempty"`
		} `yaml:"challenge,omitempty"`
	} `yaml:"request,omitempty"`
	Label string `yaml:"label,omitempty"`
}

// NewTargetFile returns the content of a new file of desired/. The error
// holds everything that is wrong with opts.
func NewTargetFile(opts NewTarget) ([]byte, error) {
	var f targetFile
	var errs []error
	for _, n := range opts.Names {
		n, err := ParseName(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.Satisfy.Names = append(f.Satisfy.Names, n)
	}
	if len(opts.Names) == 0 {
		errs = append(errs, errors.New("no names given"))
	}
	key, err := ParseKeyType(opts.KeyType)
	errs = append(errs, err)
	f.Satisfy.Key.Type, f.Request.Key.Bits, f.Request.Key.Curve = key.Algorithm, key.Bits, key.Curve
	f.Request.Challenge.Method, err = ParseMethod(opts.Challenge)
	errs = append(errs, err)
	if f.Request.Profile = opts.Profile; opts.Profile != "" {
		if _, err := token(opts.Profile); err != nil {
			errs = append(errs, fmt.Errorf("profile: %w", err))
		}
	}
	if f.Label = opts.Label; opts.Label != "" {
		_, err = label(opts.Label)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	f.Satisfy.Names = sorted(f.Satisfy.Names)
	data, err := encode(f)
	if err != nil {
		return nil, fmt.Errorf("write target: %w", err)
	}
	if _, err := ParseTarget("new", data, nil); err != nil {
		return nil, errors.Join(plainTexts(err)...)
	}
	return data, nil
}

// plainTexts takes file and line out of mistakes in a file nobody has seen.
func plainTexts(err error) []error {
	var out []error
	for _, e := range split(err) {
		if m, ok := errors.AsType[*Mistake](e); ok {
			e = &Mistake{File: "new target", Key: m.Key, Text: m.Text}
		}
		out = append(out, e)
	}
	return out
}

// RemoveNames returns the content data of the target file desired/<file>
// without names, and how many names are left to satisfy. If none is left, out
// is nil and the file should go. Everything else stays as it is: comments,
// layout where it can be, and keys that are not set stay so. If no name is in
// the file, out is data.
func RemoveNames(file string, data []byte, names []string) (out []byte, left int, err error) {
	t, err := ParseTarget(file, data, nil)
	if err != nil {
		return nil, 0, err
	}
	gone := map[string]bool{}
	for _, n := range names {
		if parsed, err := ParseName(n); err == nil {
			n = parsed
		}
		gone[n] = true
	}
	unwanted := func(n string) bool { return gone[n] }
	keep := slices.DeleteFunc(slices.Clone(t.Names), unwanted)
	request := slices.DeleteFunc(slices.Clone(t.RequestNames), unwanted)
	switch {
	case len(keep) == 0:
		return nil, 0, nil
	case len(request) == len(t.RequestNames):
		return data, len(keep), nil
	}
	for _, edit := range []func([]byte, map[string]bool) ([]byte, error){cutLines, cutNodes} {
		out, err := edit(data, gone)
		if err != nil {
			continue
		}
		after, err := ParseTarget(file, out, nil)
		if err == nil && slices.Equal(after.Names, keep) && slices.Equal(after.RequestNames, request) {
			return out, len(keep), nil
		}
	}
	return nil, 0, &Mistake{File: "desired/" + file, Text: fmt.Sprintf("could not take out %s; edit the file by hand", strings.Join(names, ", "))}
}

// errNotLines reports that names do not stand in lines of their own.
var errNotLines = errors.New("names do not stand in lines of their own")

// cutLines removes the lines "- name" and nothing else.
func cutLines(data []byte, gone map[string]bool) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	cut := map[int]bool{}
	for _, list := range nameLists(&doc) {
		if list.Style&yaml.FlowStyle != 0 {
			return nil, errNotLines
		}
		for _, item := range list.Content {
			if isGone(item, gone) {
				cut[item.Line] = true
			}
		}
	}
	var out bytes.Buffer
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if !cut[line] {
			out.Write(text)
		} else if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("-")) {
			return nil, errNotLines
		}
	}
	return out.Bytes(), nil
}

// cutNodes removes the names from the parsed file and writes it anew. A list
// that is then empty goes with its key.
func cutNodes(data []byte, gone map[string]bool) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	for _, list := range nameLists(&doc) {
		list.Content = slices.DeleteFunc(list.Content, func(item *yaml.Node) bool { return isGone(item, gone) })
	}
	for _, section := range []string{"satisfy", "request"} {
		m := child(root(&doc), section)
		if list := child(m, "names"); list != nil && len(list.Content) == 0 {
			i := slices.Index(m.Content, list)
			m.Content = slices.Delete(m.Content, i-1, i+1)
		}
	}
	return encode(&doc)
}

func isGone(item *yaml.Node, gone map[string]bool) bool {
	n, err := ParseName(item.Value)
	return err == nil && gone[n]
}

// nameLists returns the lists of names that a target file has.
func nameLists(doc *yaml.Node) []*yaml.Node {
	top := root(doc)
	lists := []*yaml.Node{child(child(top, "satisfy"), "names"), child(child(top, "request"), "names"), child(top, "names")}
	return slices.DeleteFunc(lists, func(n *yaml.Node) bool { return n == nil })
}

func root(doc *yaml.Node) *yaml.Node {
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// child returns the value of a key of a mapping; nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// encode writes YAML with two spaces of indentation.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}
