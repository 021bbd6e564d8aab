package hooks

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"text", "nginx: ok\n\tindented\n", "nginx: ok\n\tindented\n"},
		{"other alphabets", "größer 証明書 ✓", "größer 証明書 ✓"},
		{"DOS lines", "a\r\nb\r\n", "a\nb\n"},
		{"colour", "\x1b[1;31merror\x1b[0m: no", "error: no"},
		{"title with BEL", "\x1b]0;evil\atext", "text"},
		{"title with ST", "\x1b]0;evil\x1b\\text", "text"},
		{"device control", "\x1bP+q544e\x1b\\text", "text"},
		{"sequence without an end", "\x1b]0;evil\nnext line", "\nnext line"},
		{"colour without an end", "\x1b[12;", ""},
		{"two bytes", "\x1bctext", "text"},
		{"lone escape", "\x1b", ""},
		{"escape before a newline", "\x1b\nb", "\nb"},
		{"controls", "a\x00b\x07c\x08d\x7fe\u0085f\u009bg", "abcdefg"},
		{"no UTF-8", "a\xff\xc3b", "a??b"},
		{"right to left override", "a\u202eb\u2066c\u200bd", "abcd"},
		{"wide spaces", "a\u00a0b\u3000c", "a b c"},
		{"line separator", "a\u2028b", "ab"},
	} {
		if got := clean(tt.in); got != tt.want {
			t.Errorf("%s: %q became %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// FuzzClean: what comes out is short, printable, and does not change any more.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "text\n", "\x1b[31m", "\x1b]0;x\a", "\x1bP\x1b\\", "\xff\xfe", "\u202e", "\x1b\x1b[", "[\x1b1m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := clean(in)
		if len(out) > len(in) || !utf8.ValidString(out) || clean(out) != out {
			t.Errorf("%q became %q", in, out)
		}
		for _, r := range out {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%q became %q, which has %U in it", in, out, r)
			}
		}
	})
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for _, total := range []int{0, 1, keep - 1, keep, keep + 1, 2 * keep, 2*keep + 1, 5*keep + 7} {
		for _, piece := range []int{1, 7, 4096, keep, 3 * keep} {
			text := make([]byte, total)
			for i := range text {
				text[i] = byte('a' + i%23)
			}
			var e excerpt
			for rest := text; len(rest) > 0; {
				n := min(piece, len(rest))
				if got, err := e.Write(rest[:n]); got != n || err != nil {
					t.Fatalf("write %d bytes: got %d, %v", n, got, err)
				}
				rest = rest[n:]
			}
			got := []byte(e.String())
			if total <= 2*keep {
				if !bytes.Equal(got, text) {
					t.Errorf("%d bytes in pieces of %d did not come out as they went in", total, piece)
				}
				continue
			}
			if !bytes.HasPrefix(got, append(text[:keep:keep], "\n["...)) || !bytes.HasSuffix(got, append([]byte(" bytes left out]\n"), text[total-keep:]...)) {
				t.Errorf("%d bytes in pieces of %d: the ends are not those that went in", total, piece)
			}
		}
	}
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 500)
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"\n \n", ""},
		{"one\n", ": one"},
		{"one\n  two  \n\n", ": two"},
		{long, ": " + long[:200] + "..."},
	} {
		if got := lastLine(tt.in); got != tt.want {
			t.Errorf("the last line of %.20q is %q, want %q", tt.in, got, tt.want)
		}
	}
}
