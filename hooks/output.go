package hooks

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// keep is how many bytes are kept of each end of a hook's output.
const keep = 16 << 10

// excerpt is an io.Writer that keeps the first and the last bytes written to
// it and never blocks or fails. Its zero value is ready for use.
type excerpt struct {
	mu    sync.Mutex
	head  []byte
	tail  []byte // a ring once it is full
	next  int    // where the ring continues
	total int64
}

// Write keeps what there is room for of p; it always takes all of it.
func (e *excerpt) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(p)
	e.total += int64(n)
	room := min(keep-len(e.head), len(p))
	e.head = append(e.head, p[:room]...)
	p = p[room:]
	if len(p) > keep {
		p = p[len(p)-keep:]
	}
	room = min(keep-len(e.tail), len(p))
	e.tail = append(e.tail, p[:room]...)
	for p = p[room:]; len(p) > 0; {
		c := copy(e.tail[e.next:], p)
		e.next = (e.next + c) % keep
		p = p[c:]
	}
	return n, nil
}

// String returns both ends as printable text, with a line between them that
// says how much was left out.
func (e *excerpt) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	tail := append(e.tail[e.next:len(e.tail):len(e.tail)], e.tail[:e.next]...)
	left := e.total - int64(len(e.head)) - int64(len(tail))
	if left == 0 {
		return clean(string(e.head) + string(tail))
	}
	return fmt.Sprintf("%s\n[%d bytes left out]\n%s", clean(string(e.head)), left, clean(string(tail)))
}

// clean makes text from a hook safe to show on a terminal and in a log:
// escape sequences, control and formatting characters are removed but for
// newlines and tabs, and what is no UTF-8 becomes a question mark. The result
// is never longer than s.
func clean(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\x1b':
			size = escape(s)
		case r == utf8.RuneError && size == 1:
			b.WriteByte('?')
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteString(s[:size])
		case unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		}
		s = s[size:]
	}
	return b.String()
}

// escape returns the length of the terminal escape sequence that s begins with
// (ECMA-48): CSI with parameters and a final byte, a string such as OSC with
// its terminator, or ESC and one more byte. A sequence is cut off at the end
// of its line.
func escape(s string) int {
	if len(s) < 2 || s[1] < ' ' || s[1] >= 0x7f {
		return 1
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
			if s[i] < 0x20 || s[i] > 0x7e {
				return i
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_':
		for i := 2; i < len(s); i++ {
			switch s[i] {
			case '\a':
				return i + 1
			case '\n', '\x1b': // the terminator is ESC \, which is dropped as a sequence of its own
				return i
			}
		}
		return len(s)
	}
	return 2
}

// lastLine returns the last line of a hook's output that says something,
// bounded, to go at the end of an error; empty if there is none.
func lastLine(output string) string {
	output = strings.TrimSpace(output)
	line := strings.TrimSpace(output[strings.LastIndexByte(output, '\n')+1:])
	if line == "" {
		return ""
	}
	if len(line) > errLastLine {
		line = strings.ToValidUTF8(line[:errLastLine], "") + "..."
	}
	return ": " + line
}
