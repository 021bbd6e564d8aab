package challenge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"certd/acme"
)

// maxAnswer bounds a challenge file: a token, a dot and a thumbprint have at
// most 257 bytes.
const maxAnswer = 1 << 10

// readAnswer returns the answer for token from the first of dirs that has it;
// none is "" without an error. What is served is a key authorization of that
// token and nothing else, whatever a file or a link of its name holds.
func readAnswer(dirs []string, token string) (string, error) {
	if !acme.ValidToken(token) {
		return "", nil
	}
	var failed reasons
	for _, dir := range dirs {
		data, err := readFile(dir, token)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("read challenge file in %s: %w", dir, cause(err)))
			continue
		}
		answer := strings.TrimRight(string(data), "\r\n\t ")
		if thumb, ok := strings.CutPrefix(answer, token+"."); ok && isBase64URL(thumb) {
			return answer, nil
		}
		failed = append(failed, fmt.Errorf("challenge file %s does not hold token.thumbprint", filepath.Join(dir, token)))
	}
	return "", failed.err()
}

// readFile reads a small regular file of dir, never through a link out of it
// and never waiting.
func readFile(dir, name string) ([]byte, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxAnswer {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("no small regular file")}
	}
	return io.ReadAll(io.LimitReader(f, maxAnswer))
}
