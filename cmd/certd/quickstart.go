package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/spf13/cobra"

	"certd/acme"
	"certd/daemon"
)

func (a *app) quickstartCommand() *cobra.Command {
	var expert bool
	var root, bundle string
	c := &cobra.Command{
		Use:   "quickstart",
		Short: "Set certd up by a few questions, or from a response file",
		Long: `Asks for the CA, the challenge method, your contact, and how certd shall run. Then
it makes the account, writes conf/, installs hooks and units or a cron entry, and
says what it did. Nothing is written before the last question is answered. Run
again it shows the present answers and changes only what changes.

With --batch nothing is asked: --response-file, or conf/responses of an earlier
run, has to have the answers. acmetool's response files work as they are.`,
		Example: `  certd quickstart
  certd quickstart --expert                 also key type, profile, self-test
  certd quickstart --batch --response-file answers.yaml
  certd quickstart --batch --response-file acmetool.yaml --ca-bundle ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, path := range map[string]*string{"--root": &root, "--ca-bundle": &bundle} {
				if *path != "" {
					var err error
					if *path, err = filepath.Abs(*path); err != nil {
						return usage("%s: %w", flag, err)
					}
				}
			}
			return a.quickstart(cmd.Context(), root, bundle, expert)
		},
	}
	c.Flags().BoolVar(&expert, "expert", false, "ask more: key type and size, profile, self-test, HAProxy")
	c.Flags().StringVar(&bundle, "ca-bundle", "", "roots of a CA that this machine does not trust, a PEM `FILE`")
	c.Flags().StringVar(&root, "root", "", "set up the system below `DIR`, an image, and leave this machine alone")
	return c
}

// quickstart decides everything, and then does it.
func (a *app) quickstart(ctx context.Context, root, bundle string, expert bool) error {
	s, err := a.newSetup(root, expert)
	if err != nil {
		return err
	}
	given := s.old
	if a.responseFile != "" {
		if given, err = readResponses(a.responseFile, false); err != nil {
			return err
		}
	} else if !a.batch {
		given = responses{} // the answers of last time are only defaults
	}
	if bundle != "" {
		given = maps.Clone(given)
		given["ca-bundle"] = bundle
	}
	person := newAsker(a.streams, ctx.Done())
	if !a.batch {
		person.say("Some questions, each with a suggestion that the enter key takes. Nothing is written before the last one is answered; Ctrl-C leaves everything as it is.")
	}
	for _, q := range questions() {
		if err := a.settle(ctx, s, q, given, person); err != nil {
			return err
		}
	}
	for id, text := range given { // also those nobody had to ask for: for another machine, another time
		if _, ok := s.answers[id]; !ok {
			s.old[id] = s.image.inside(text)
		}
	}
	record, err := a.carryOut(ctx, s)
	if err != nil {
		return err
	}
	a.printRecord(s, record)
	a.warn(s)
	return errors.Join(record.errs...)
}

// settle gets the answer to one question: from the response file, from a person,
// or its default; until there is one that can be used.
func (a *app) settle(ctx context.Context, s *setup, q question, given responses, person *asker) error {
	if q.when != nil && !q.when(s) {
		return nil
	}
	answer, known := given[q.id]
	switch {
	case known:
	case q.expert && !s.expert:
		return nil
	case a.batch && (q.optional || q.expert):
		answer = q.start(s)
	case a.batch:
		remedy := "add it to the response file"
		if q.id == "ca-bundle" {
			remedy += ", or give --ca-bundle FILE: this machine does not trust the TLS certificate of " + s.ca.Directory
		}
		return &daemon.ConfigError{Err: fmt.Errorf("quickstart: no answer to %s (%s); %s", responseKey(q.id), q.text(s), remedy)}
	}
	ask := !known && !a.batch
	for {
		if ask {
			var err error
			if answer, err = person.ask(ctx, q.prompt(s)); err != nil {
				if errors.Is(err, errStopped) {
					return errors.New("quickstart: stopped; nothing was changed")
				}
				return &daemon.ConfigError{Err: fmt.Errorf("quickstart: %s: %w", responseKey(q.id), err)}
			}
		}
		before := s.directory
		err := q.answer(ctx, s, answer)
		if err == nil {
			if text := s.describe(); !a.batch && s.directory != before && text != "" {
				person.say(text)
			}
			return nil
		}
		if ctx.Err() != nil {
			return errors.New("quickstart: stopped; nothing was changed")
		}
		if declined, final := errors.AsType[*refusal](err); final {
			return a.declined(person, declined, known)
		}
		if a.batch {
			return batchError(q, err)
		}
		if n, ok := errors.AsType[*notice](err); ok {
			person.say(n.text)
		} else {
			person.say(acme.Sanitize(err.Error()))
		}
		ask = true
	}
}

// declined ends the dialogue after an answer with which it cannot go on. That is
// no mistake of the configuration; known says that a response file gave it.
func (a *app) declined(person *asker, r *refusal, known bool) error {
	if a.batch || known {
		return fmt.Errorf("quickstart: %w; nothing was changed. To agree, set certd-agreement: true in the response file; else choose another CA", r)
	}
	person.say("You did not agree: " + r.Error() + ". Nothing was changed. Run certd quickstart again to agree to the terms, or to choose another CA.")
	return errSaid
}

// batchError is why an answer cannot be used: a mistake in the response file, or
// a CA that does not answer.
func batchError(q question, err error) error {
	err = fmt.Errorf("quickstart: %s: %w; nothing was changed", responseKey(q.id), err)
	if _, ok := errors.AsType[*acme.Problem](err); ok {
		return err
	}
	return &daemon.ConfigError{Err: err}
}

// start is the answer to begin with.
func (q question) start(s *setup) string {
	if q.initial == nil {
		return ""
	}
	return q.initial(s)
}

// prompt is the question as a person gets it now.
func (q question) prompt(s *setup) prompt {
	p := prompt{text: q.text(s), help: q.help(s), initial: q.start(s), yesNo: q.yesNo, url: q.url}
	if q.choices != nil {
		p.choices = q.choices(s)
	}
	return p
}

// answer checks an answer and applies it.
func (q question) answer(ctx context.Context, s *setup, text string) error {
	if q.yesNo {
		yes, ok := parseYes(text)
		if !ok {
			return fmt.Errorf("%q is neither yes nor no", text)
		}
		text = yesOrNo(yes)
	}
	if q.take != nil {
		var err error
		if text, err = q.take(ctx, s, text); err != nil {
			return err
		}
	}
	s.answers[q.id] = text
	return nil
}
