package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
)

// maxFile is the size of the largest file that is read: a certificate with a
// hundred names and its chain has 20 KiB.
const maxFile = 1 << 20

// readFile reads a regular file of at most maxFile bytes; a link or special
// file is an error.
func readFile(root *os.Root, name string) ([]byte, error) { return readUpTo(root, name, maxFile) }

// readUpTo is readFile for a file of at most limit bytes.
func readUpTo(root *os.Root, name string, limit int64) ([]byte, error) {
	fi, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s, not a file", name, kind(fi.Mode()))
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "link"
	case mode.IsRegular():
		return "file"
	}
	return "special file (" + mode.Type().String() + ")"
}

// readJSON reads one JSON document into v. Fields it does not know are ignored,
// so that a directory written by a later version can be read.
func readJSON(root *os.Root, name string, v any) error {
	data, err := readFile(root, name)
	if err != nil {
		return err
	}
	return decodeJSON(data, v)
}

func decodeJSON(data []byte, v any) error {
	if json.Unmarshal(data, v) == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data)) // for what exactly is wrong
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("bad JSON: %w", err)
	}
	return errors.New("bad JSON: something follows the document")
}

// encodeJSON is how every JSON file is written: indented, with a final newline.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// list returns the entries of a directory by name, hidden ones left out. A
// directory that does not exist is empty.
func list(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	kept := entries[:0]
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			kept = append(kept, e)
		}
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].Name() < kept[j].Name() })
	return kept, nil
}

// names is list without what the entries are, which costs a system call each.
func names(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	defer f.Close()
	all, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, ".") })
	slices.Sort(all)
	return all, nil
}

// inside resolves the text of a link found in directory dir to a path relative
// to the state directory; absolute and escaping links are an error.
func inside(dir, text string) (string, error) {
	if path.IsAbs(text) {
		return "", fmt.Errorf("link to %q: absolute links break when the directory moves; make it relative", text)
	}
	target := path.Join(dir, text)
	if target == ".." || strings.HasPrefix(target, "../") {
		return "", fmt.Errorf("link to %q leaves the state directory", text)
	}
	return target, nil
}
