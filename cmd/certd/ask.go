package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/AlecAivazis/survey/v2"
	"github.com/AlecAivazis/survey/v2/terminal"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// errStopped says that somebody pressed Ctrl-C at a question.
var errStopped = errors.New("stopped")

// errSaid is a failure that has been told already.
var errSaid = errors.New("")

// A choice is one answer among several: what stands in a response file, what a
// person reads, and what it means.
type choice struct{ value, name, about string }

// A prompt is a question as it is put to a person.
type prompt struct {
	text    string
	help    string   // a sentence that says what the answer means
	initial string   // what the enter key alone answers
	choices []choice // to choose from; none means free text
	yesNo   bool
	url     string // the choice in whose place a URL may be typed; empty without
}

// names are the choices' names, all of one width.
func (p prompt) names() []string {
	width := 0
	for _, c := range p.choices {
		width = max(width, utf8.RuneCountInString(c.name))
	}
	var out []string
	for _, c := range p.choices {
		out = append(out, c.name+strings.Repeat(" ", width-utf8.RuneCountInString(c.name)))
	}
	return out
}

// An asker puts questions to the person at a terminal: with survey's menus where
// the terminal can do that, else line by line, which also works over a serial
// console, in an editor's shell, or from a pipe.
type asker struct {
	out   io.Writer
	tty   *os.File // nil means line by line
	in    io.Reader
	lines *bufio.Reader
}

// newAsker asks on the command's own input and output. done ends a wait for an
// answer.
func newAsker(s streams, done <-chan struct{}) *asker {
	a := &asker{out: s.out, in: s.in}
	if f, ok := s.in.(*os.File); ok {
		a.in = &patient{File: f, done: done}
	}
	a.lines = bufio.NewReader(io.LimitReader(a.in, 1<<20))
	out, ok := fileOf(s.out)
	_, terminal := a.in.(*patient)
	if ok && terminal && isTerminal(out) && term.IsTerminal(int(a.in.(*patient).Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != "" {
		a.tty = out
	}
	return a
}

// say prints paragraphs in lines that fit the screen. An indented one stays so.
func (a *asker) say(text string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		indent := paragraph[:len(paragraph)-len(strings.TrimLeft(paragraph, " "))]
		fmt.Fprintln(a.out, strings.Join(wrap(paragraph, indent), "\n"))
	}
}

// ask returns the answer: one of the choices' values, "yes" or "no", or text. A
// line-by-line answer to a choice may be something else, which is for the caller
// to judge. The error is errStopped, or that there is nobody to ask.
func (a *asker) ask(ctx context.Context, p prompt) (string, error) {
	fmt.Fprintln(a.out)
	a.say(p.help)
	if err := ctx.Err(); err != nil {
		return "", errStopped
	}
	if a.tty == nil {
		return a.askLine(ctx, p)
	}
	answer, err := a.askMenu(p)
	if errors.Is(err, terminal.InterruptErr) || ctx.Err() != nil {
		return "", errStopped
	}
	return strings.TrimSpace(answer), err
}

// askMenu asks with survey.
func (a *asker) askMenu(p prompt) (string, error) {
	stdio := survey.WithStdio(a.in.(*patient), a.tty, a.tty)
	switch {
	case p.yesNo:
		yes := p.initial == "yes"
		err := survey.AskOne(&survey.Confirm{Message: p.text, Default: yes}, &yes, stdio)
		return yesOrNo(yes), err
	case len(p.choices) == 0:
		var text string
		err := survey.AskOne(&input{Message: p.text, Default: p.initial}, &text, stdio)
		return text, err
	}
	survey.SelectQuestionTemplate = selectTemplate // there is no other way to set it
	menu := &survey.Select{Message: p.text, PageSize: 15, Default: 0}
	names := p.names()
	typed := ""
	menu.Filter = func(text, name string, i int) bool {
		if typed = text; strings.Contains(text, "/") {
			return p.choices[i].value == p.url
		}
		return strings.Contains(strings.ToLower(name+"  "+p.choices[i].about), strings.ToLower(text))
	}
	menu.Description = func(_ string, i int) string { return p.choices[i].about }
	for i, c := range p.choices {
		menu.Options = append(menu.Options, names[i])
		if c.value == p.initial {
			menu.Default = i
		}
	}
	var index int
	err := survey.AskOne(menu, &index, stdio)
	if err == nil && p.choices[index].value == p.url && strings.Contains(typed, "://") {
		return typed, nil
	}
	return p.choices[index].value, err
}

// askLine asks without moving the cursor.
func (a *asker) askLine(ctx context.Context, p prompt) (string, error) {
	shown := p.initial
	names := p.names()
	for i, c := range p.choices {
		fmt.Fprintf(a.out, "%3d) %s\n", i+1, strings.TrimSpace(names[i]+"  "+c.about))
		if c.value == p.initial {
			shown = strconv.Itoa(i + 1)
		}
	}
	if shown != "" {
		shown = " [" + shown + "]"
	}
	if utf8.RuneCountInString(p.text+shown) > screenWidth {
		shown = "\n " + shown
	}
	fmt.Fprintf(a.out, "%s%s ", p.text, shown)
	line, err := a.lines.ReadString('\n')
	if ctx.Err() != nil {
		fmt.Fprintln(a.out)
		return "", errStopped
	}
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		fmt.Fprintln(a.out)
		return "", fmt.Errorf("nobody answers (%w); use --batch with --response-file", err)
	}
	answer := strings.TrimSpace(line)
	if answer == "" {
		return p.initial, nil
	}
	if i, err := strconv.Atoi(answer); err == nil && 1 <= i && i <= len(p.choices) {
		return p.choices[i-1].value, nil
	}
	return answer, nil
}

// A patient file waits for input no longer than until done is closed, so that a
// signal ends a question. Ctrl-D is Ctrl-C where it gets here: survey would take
// it for the enter key in some questions. It hands out control sequences, such as the terminal's
// word on where the cursor is, apart from what was typed before and behind:
// survey would lose that.
type patient struct {
	*os.File
	done  <-chan struct{}
	ahead []byte // read, and not yet handed out
}

// Read waits for input, looking up from time to time.
func (p *patient) Read(b []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(p.Fd()), Events: unix.POLLIN}}
	for len(p.ahead) == 0 {
		select {
		case <-p.done:
			return 0, errStopped
		default:
		}
		n, err := unix.Poll(fds, int((100 * time.Millisecond).Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("wait for an answer: %w", err)
		}
		if n <= 0 {
			continue
		}
		buf := make([]byte, 4096)
		if n, err = p.File.Read(buf); err != nil {
			return 0, err
		}
		p.ahead = bytes.ReplaceAll(buf[:n], []byte{terminal.KeyEndTransmission}, []byte{terminal.KeyInterrupt})
	}
	n := copy(b, p.ahead[:piece(p.ahead)])
	p.ahead = p.ahead[n:]
	return n, nil
}

// piece is how long the first piece of input is: a control sequence, or what
// stands before the next one.
func piece(in []byte) int {
	const escape = 0x1b
	if in[0] != escape {
		if i := bytes.IndexByte(in, escape); i > 0 {
			return i
		}
		return len(in)
	}
	if len(in) < 3 || in[1] != '[' {
		return min(len(in), 3) // ESC alone, ESC O and a letter
	}
	for i, c := range in[2:] {
		if 0x40 <= c && c <= 0x7e {
			return i + 3
		}
	}
	return len(in)
}

func yesOrNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
