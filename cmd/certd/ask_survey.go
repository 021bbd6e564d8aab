package main

import (
	"strings"
	"unicode/utf8"

	"github.com/AlecAivazis/survey/v2"
)

// selectTemplate is survey's menu with its hint on a line of its own, so that a
// question and what is typed fit a line of 80 columns.
const selectTemplate = `
{{- define "option"}}
    {{- if eq .SelectedIndex .CurrentIndex }}{{color .Config.Icons.SelectFocus.Format }}{{ .Config.Icons.SelectFocus.Text }} {{else}}{{color "default"}}  {{end}}
    {{- .CurrentOpt.Value}}{{ if ne ($.GetDescription .CurrentOpt) "" }} - {{color "cyan"}}{{ $.GetDescription .CurrentOpt }}{{end}}
    {{- color "reset"}}
{{end}}
{{- color .Config.Icons.Question.Format }}{{ .Config.Icons.Question.Text }} {{color "reset"}}
{{- color "default+hb"}}{{ .Message }}{{color "reset"}}
{{- if .ShowAnswer}}{{color "cyan"}} {{.Answer}}{{color "reset"}}{{"\n"}}
{{- else}}
  {{- .FilterMessage}}{{"\n"}}
  {{- color "cyan"}}  [arrow keys move, typing searches, enter takes]{{color "reset"}}
  {{- "\n"}}
  {{- range $ix, $option := .PageEntries}}
    {{- template "option" $.IterateOption $ix $option}}
  {{- end}}
{{- end}}`

// inputTemplate is a question for free text. What does not fit goes to the next
// line as a whole.
const inputTemplate = `
{{- color .Config.Icons.Question.Format }}{{ .Config.Icons.Question.Text }} {{color "reset"}}
{{- color "default+hb"}}{{ .Message }}{{color "reset"}}
{{- if .ShowAnswer}}{{ .Gap }}{{color "cyan"}}{{ .Answer }}{{color "reset"}}{{"\n"}}
{{- else if .Default}}{{ .Gap }}{{color "white"}}({{ .Default }}){{color "reset"}} {{ else }} {{end}}`

// An input asks for free text as survey's Input does, but for one thing: that
// one erases a line too many when an answer is longer than the screen is wide.
type input struct {
	survey.Renderer
	Message, Default string
}

// inputData is what inputTemplate shows.
type inputData struct {
	input
	ShowAnswer  bool
	Answer, Gap string
	Config      *survey.PromptConfig
}

// gap is what separates the question from what follows it.
func (i *input) gap(text string) string {
	if utf8.RuneCountInString("? "+i.Message+" "+text) > screenWidth {
		return "\n  "
	}
	return " "
}

// Prompt asks and returns the answer, or the default.
func (i *input) Prompt(config *survey.PromptConfig) (any, error) {
	reader := i.NewRuneReader()
	_ = reader.SetTermMode() // as survey does, but before the question is seen: without it the terminal shows what is typed twice
	defer func() { _ = reader.RestoreTermMode() }()
	err := i.Render(inputTemplate, inputData{input: *i, Gap: i.gap("(" + i.Default + ")"), Config: config})
	if err != nil {
		return "", err
	}
	line, err := reader.ReadLine(0)
	if err != nil {
		return "", err
	}
	i.NewCursor().Up(1) // to where the answer began
	if len(line) == 0 {
		return i.Default, nil
	}
	return string(line), nil
}

// Cleanup shows question and answer in place of the dialogue.
func (i *input) Cleanup(config *survey.PromptConfig, answer any) error {
	text := strings.TrimSpace(answer.(string))
	return i.Render(inputTemplate, inputData{input: *i, ShowAnswer: true, Answer: text, Gap: i.gap(text), Config: config})
}
