package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is how much of a configuration file is read, in bytes.
const maxFile = 1 << 20

// A schema says which keys a mapping may have and how each is read. Keys of
// mappings inside are written with dots: "request.key.type". One that ends with a
// dot says how a word in place of such a mapping is read.
type schema map[string]func(value)

// A value is what stands behind one key.
type value struct {
	*decoder
	node *yaml.Node
	key  string // full path, for messages
}

// A decoder reads one YAML file strictly and collects every mistake in it.
type decoder struct {
	file     string
	lines    map[string]int // keys that were given, by full path, to their line
	mistakes []*Mistake
	broken   bool // it is no YAML document at all
}

// decode reads data, a file called file, by the rules of s.
func decode(file string, data []byte, s schema) *decoder {
	d := &decoder{file: file, lines: map[string]int{}}
	root := d.document(data)
	if root == nil {
		return d
	}
	d.refuseReferences(root)
	d.mapping(root, "", "", s)
	return d
}

// err returns all mistakes joined, by line; nil if there are none.
func (d *decoder) err() error {
	slices.SortStableFunc(d.mistakes, func(a, b *Mistake) int { return cmp.Compare(a.Line, b.Line) })
	var errs []error
	for _, m := range d.mistakes {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// given reports whether the file has the key with this full path.
func (d *decoder) given(key string) bool { return d.lines[key] > 0 }

// complain records a mistake.
func (d *decoder) complain(line int, key, format string, args ...any) {
	d.mistakes = append(d.mistakes, &Mistake{File: d.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

// complainAt records a mistake about a key that was given, or about the whole file.
func (d *decoder) complainAt(key, format string, args ...any) {
	d.complain(d.lines[key], key, format, args...)
}

// document returns the root of the only document in data; nil if there is
// none, and with broken set if it cannot be read.
func (d *decoder) document(data []byte) *yaml.Node {
	defer func() { d.broken = len(d.mistakes) > 0 }()
	if len(data) > maxFile {
		d.complain(0, "", "file is larger than 1 MiB")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.complainSyntax(data, err)
		}
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		d.complain(second.Line, "", "a second YAML document; keep one, without \"---\" lines between")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.complainSyntax(data, err)
		return nil
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// complainSyntax records what the YAML parser said, with the line taken out of its text.
func (d *decoder) complainSyntax(data []byte, err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, after, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				line, text = n, after
			}
		}
	}
	if n := tabIndented(data); n > 0 {
		line, text = n, "indented with a tab; YAML wants spaces"
	}
	d.complain(line, "", "cannot be read as YAML: %s", strings.ToValidUTF8(text, "?"))
}

// tabIndented returns the first line that has a tab among its indentation, 0 if none.
func tabIndented(data []byte) int {
	for i, line := range bytes.Split(data, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if bytes.ContainsRune(indent, '\t') {
			return i + 1
		}
	}
	return 0
}

// refuseReferences records anchors, aliases, merge keys and tags of the
// user's own: a target file says what it means where it means it.
func (d *decoder) refuseReferences(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.complain(n.Line, "", "alias *%s: aliases are refused; write the value out", plain(n.Value))
		return
	case n.Anchor != "":
		d.complain(n.Line, "", "anchor &%s: anchors are refused; write the value out where it is needed", plain(n.Anchor))
	case n.Style&yaml.TaggedStyle != 0:
		d.complain(n.Line, "", "tag %s: tags are refused; remove it", plain(n.Tag))
	}
	for _, c := range n.Content {
		d.refuseReferences(c)
	}
}

// mapping reads the keys of n. Its keys are called prefix+key in messages and
// at+key in s; the two differ inside lists.
func (d *decoder) mapping(n *yaml.Node, prefix, at string, s schema) {
	if n.Kind == yaml.AliasNode || isNull(n) {
		return // reported already; or all its keys are commented out
	}
	if read, ok := s[at]; ok && n.Kind == yaml.ScalarNode {
		key := strings.TrimSuffix(prefix, ".")
		d.lines[key] = n.Line
		read(value{decoder: d, node: n, key: key})
		return
	}
	if n.Kind != yaml.MappingNode {
		d.complain(n.Line, strings.TrimSuffix(prefix, "."), "want \"key: value\" lines, found %s", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Tag == "!!merge":
			d.complain(k.Line, "", "merge key \"<<\": merge keys are refused; write the keys out")
		case k.Kind != yaml.ScalarNode:
			d.complain(k.Line, strings.TrimSuffix(prefix, "."), "a key is %s; want a word", describe(k))
		case seen[k.Value] > 0:
			d.complain(k.Line, prefix+plain(k.Value), "given twice, first in line %d; keep one", seen[k.Value])
		default:
			seen[k.Value] = k.Line
			d.entry(k, v, prefix, at, s)
		}
	}
}

// entry reads one key of a mapping.
func (d *decoder) entry(k, v *yaml.Node, prefix, at string, s schema) {
	if strings.Contains(k.Value, ".") {
		d.unknown(k, prefix, at, s)
		return
	}
	if read, ok := s[at+k.Value]; ok {
		d.lines[prefix+k.Value] = k.Line
		if v.Kind != yaml.AliasNode {
			read(value{decoder: d, node: v, key: prefix + k.Value})
		}
		return
	}
	inside := at + k.Value + "."
	for key := range s {
		if strings.HasPrefix(key, inside) {
			d.mapping(v, prefix+k.Value+".", inside, s)
			return
		}
	}
	d.unknown(k, prefix, at, s)
}

// unknown records an unknown key, with the known one that is probably meant:
// one of the same mapping that is spelled alike, else one of another mapping.
func (d *decoder) unknown(k *yaml.Node, prefix, at string, s schema) {
	key := prefix + plain(k.Value)
	all := slices.DeleteFunc(slices.Sorted(maps.Keys(s)), func(k string) bool { return legacy(k, s) || strings.HasSuffix(k, ".") })
	slices.Reverse(all) // satisfy.names is meant more often than request.names
	var here []string
	for _, known := range all {
		if rest, ok := strings.CutPrefix(known, at); ok {
			word, _, _ := strings.Cut(rest, ".")
			here = append(here, word)
		}
	}
	slices.Sort(here)
	here = slices.Compact(here)
	if _, ok := s[at+k.Value]; ok {
		above, last, _ := strings.Cut(k.Value, ".")
		d.complain(k.Line, key, "unknown key; keys are nested, write %q and below it, indented, %q", above+":", last+":")
		return
	}
	if word := nearest(k.Value, here); word != "" {
		d.complain(k.Line, key, "unknown key; did you mean %s?", prefix+word)
		return
	}
	if full := elsewhere(k.Value, all); full != "" {
		d.complain(k.Line, key, "unknown key; did you mean %s?", strings.TrimSuffix(prefix, at)+full)
		return
	}
	d.complain(k.Line, key, "unknown key; known here are %s", strings.Join(here, ", "))
}

// legacy reports whether key is one of acmetool's first target files: they
// are read, and never suggested.
func legacy(key string, s schema) bool {
	_, moved := s["satisfy."+key]
	if !moved {
		_, moved = s["request."+key]
	}
	return moved
}

// elsewhere returns the one of the full paths whose last word, or last two
// words, are most like key.
func elsewhere(key string, paths []string) string {
	var words []string
	by := map[string]string{}
	for _, p := range paths {
		parts := strings.Split(p, ".")
		for i := range parts {
			word := strings.Join(parts[i:], ".")
			if by[word] == "" {
				words = append(words, word)
				by[word] = p
			}
		}
	}
	return by[nearest(key, words)]
}

// isNull reports whether nothing stands behind the key.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe says in words what n is.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	default:
		return quote(n.Value)
	}
}
