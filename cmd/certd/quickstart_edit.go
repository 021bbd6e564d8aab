package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"certd/config"
)

// A document is a YAML file of conf/ that is edited: what is not touched stays,
// comments and keys that only somebody else knows included.
type document struct {
	data    []byte // as it was
	prefix  []byte // comments that belong to no key
	node    yaml.Node
	changed bool
}

// parseDocument reads a file of "key: value" lines; a new one begins with header.
func parseDocument(data []byte, header string) (*document, error) {
	d := &document{data: data}
	if err := yaml.Unmarshal(data, &d.node); err != nil {
		return nil, err
	}
	if len(d.node.Content) == 0 || d.top().Tag == "!!null" { // empty, or nothing but comments
		d.prefix = data
		if len(bytes.TrimSpace(data)) == 0 {
			d.prefix = []byte(header)
		}
		d.node = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode, Tag: "!!map"}}}
	}
	if d.top().Kind != yaml.MappingNode {
		return nil, errors.New("want \"key: value\" lines")
	}
	return d, nil
}

func (d *document) top() *yaml.Node { return d.node.Content[0] }

// bytes is the file after the edits; the very same if there were none.
func (d *document) bytes() ([]byte, error) {
	if !d.changed {
		return d.data, nil
	}
	var out bytes.Buffer
	out.Write(d.prefix)
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	err := errors.Join(enc.Encode(&d.node), enc.Close())
	return out.Bytes(), err
}

// entry returns the value of a key, nil if there is none, and its place.
func entry(m *yaml.Node, key string) (*yaml.Node, int) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1], i
		}
	}
	return nil, -1
}

// within returns the mapping at a path; with create it is made where it is missing.
func (d *document) within(m *yaml.Node, path []string, create bool) *yaml.Node {
	for _, key := range path {
		next, i := entry(m, key)
		switch {
		case next != nil && next.Kind == yaml.MappingNode:
		case !create:
			return nil
		case next == nil:
			next = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			m.Content = append(m.Content, scalar(key), next)
		default: // a key whose values are all commented out
			next = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			m.Content[i+1] = next
		}
		m = next
	}
	return m
}

// set gives a key, below m, a value: text, or a list of one. It leaves alone
// what says the same already.
func (d *document) set(m *yaml.Node, value *yaml.Node, path ...string) {
	m = d.within(m, path[:len(path)-1], true)
	key := path[len(path)-1]
	old, i := entry(m, key)
	switch {
	case old == nil:
		m.Content = append(m.Content, scalar(key), value)
	case same(old, value):
		return
	default:
		value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
		if value.Kind == old.Kind {
			value.Style = old.Style
		}
		m.Content[i+1] = value
	}
	d.changed = true
}

// remove takes a key away.
func (d *document) remove(m *yaml.Node, path ...string) {
	if m = d.within(m, path[:len(path)-1], false); m == nil {
		return
	}
	if _, i := entry(m, path[len(path)-1]); i >= 0 {
		m.Content = slices.Delete(m.Content, i, i+2)
		d.changed = true
	}
}

func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) || a.Value != b.Value {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

func number(text string) *yaml.Node {
	if _, err := strconv.Atoi(text); err != nil {
		return scalar(text)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: text}
}

func boolean(yes bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(yes)}
}

// editTarget returns conf/target as the answers want it.
func (s *setup) editTarget(data []byte) ([]byte, error) {
	d, err := parseDocument(data, "# What all certificates have in common; docs/configuration.md lists the keys.\n")
	if err != nil {
		return nil, fmt.Errorf("edit conf/target: %w", err)
	}
	top := d.top()
	s.editCA(d)
	method := s.answers["choose-method"]
	d.set(top, scalar(method), "request", "challenge", "method")
	if path := s.answers["webroot-path"]; method == "webroot" && !slices.Contains(s.present.Challenge.WebrootPaths, path) {
		d.set(top, &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{scalar(path)}}, "request", "challenge", "webroot-paths")
	}
	if test, ok := s.answers["self-test"]; ok && (test == "yes") != s.present.Challenge.SelfTest {
		d.set(top, boolean(test == "yes"), "request", "challenge", "http-self-test")
	}
	switch profile, ok := s.answers["profile"]; {
	case ok && profile == noProfile:
		d.remove(top, "request", "profile")
	case ok:
		d.set(top, scalar(profile), "request", "profile")
	}
	s.editDNS(d)
	s.editKey(d)
	out, err := d.bytes()
	if err == nil {
		_, err = config.ParseDefault("conf/target", out, nil, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("edit conf/target: %w", err)
	}
	return out, nil
}

// editCA names the CA where conf/target names it now: acmetool's files have its
// URL as provider, and go on to be acmetool's.
func (s *setup) editCA(d *document) {
	if len(s.present.CAs) > 0 && s.presentCA() == s.ca.Name {
		return
	}
	for _, path := range [][]string{{"request", "provider"}, {"provider"}} {
		m := d.within(d.top(), path[:len(path)-1], false)
		if m == nil {
			continue
		}
		if _, i := entry(m, "provider"); i >= 0 {
			d.set(d.top(), scalar(s.ca.Directory), path...)
			return
		}
	}
	d.set(d.top(), scalar(s.ca.Name), "request", "ca")
}

// editKey writes what was said about keys, and takes away what would contradict it.
func (s *setup) editKey(d *document) {
	kind, ok := s.answers["key-type"]
	if !ok {
		return
	}
	top := d.top()
	if satisfy := d.within(top, []string{"satisfy", "key"}, false); satisfy != nil {
		if _, i := entry(satisfy, "type"); i >= 0 {
			d.set(top, scalar(kind), "satisfy", "key", "type")
		}
	}
	d.set(top, scalar(kind), "request", "key", "type")
	if kind == "rsa" {
		d.remove(top, "request", "key", "ecdsa-curve")
		if size, ok := s.answers["rsa-key-size"]; ok {
			d.set(top, number(size), "request", "key", "rsa-size")
		}
		return
	}
	d.remove(top, "request", "key", "rsa-size")
	if curve, ok := s.answers["ecdsa-curve"]; ok {
		d.set(top, scalar(curve), "request", "key", "ecdsa-curve")
	}
}

// editSettings returns conf/certd.yaml with the CA, if that has to be there: a
// CA of one's own, or credentials for a well-known one.
func (s *setup) editSettings(data []byte) ([]byte, error) {
	have, err := s.settings.CA(s.ca.Name)
	have.Limits = s.ca.Limits // quickstart does not ask for them
	if err == nil && reflect.DeepEqual(have, s.ca) {
		return data, nil
	}
	d, err := parseDocument(data, "# How certd itself works; docs/configuration.md lists the keys.\n")
	if err != nil {
		return nil, fmt.Errorf("edit conf/certd.yaml: %w", err)
	}
	list, i := entry(d.top(), "cas")
	if list == nil || list.Kind != yaml.SequenceNode {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if i < 0 {
			d.top().Content = append(d.top().Content, scalar("cas"), list)
		} else {
			d.top().Content[i+1] = list
		}
	}
	var item *yaml.Node
	for _, ca := range list.Content {
		if name, _ := entry(ca, "name"); name != nil && name.Value == s.ca.Name {
			item = ca
		}
	}
	if item == nil {
		item = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		list.Content = append(list.Content, item)
		d.set(item, scalar(s.ca.Name), "name")
	}
	if s.custom {
		d.set(item, scalar(s.ca.Directory), "directory")
	}
	if s.ca.Bundle != "" {
		d.set(item, scalar(s.ca.Bundle), "ca-bundle")
	}
	if s.ca.EABKeyID != "" {
		d.set(item, scalar(s.ca.EABKeyID), "eab", "kid")
		d.set(item, scalar(s.ca.EABHMACFile), "eab", "hmac-file")
	}
	out, err := d.bytes()
	if err == nil {
		_, err = config.ParseSettings("conf/certd.yaml", out)
	}
	if err != nil {
		return nil, fmt.Errorf("edit conf/certd.yaml: %w", err)
	}
	return out, nil
}
