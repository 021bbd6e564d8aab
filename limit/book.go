package limit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

const (
	version    = 1
	maxDoc     = 32 << 20    // bytes of an encoded book
	maxCAs     = 64          // directories
	maxLimits  = 64          // limits of a CA
	maxEntries = 50_000      // buckets and refusals in all
	maxKey     = 256         // bytes of a key
	maxURL     = 2048        // bytes of a directory
	setBack    = time.Minute // by how much a clock may go back without the book following it
)

// A Book is what was asked of CAs lately. The zero value, and one made with
// new, is empty. It is not safe for use by several goroutines at once.
type Book struct {
	cas map[string]*ca // by directory URL
}

// A ca is what was asked of one CA.
type ca struct {
	spent   map[string]map[string]time.Time // by name of the limit and key: when the bucket will be full again
	refused map[string]time.Time            // by names and account: when the CA may be asked again
	breaker breaker
	used    time.Time // last change
}

// The document of a book.
type (
	bookDoc struct {
		Version int              `json:"version"`
		CAs     map[string]caDoc `json:"cas"`
	}
	caDoc struct {
		Limits  map[string]map[string]time.Time `json:"limits,omitempty"`
		Refused map[string]time.Time            `json:"refused,omitempty"`
		Breaker *breaker                        `json:"breaker,omitempty"`
		Used    time.Time                       `json:"used,omitzero"`
	}
)

// Decode reads what Encode wrote. Anything else is an error: a document that
// is damaged, larger than any book, or of a later version.
func Decode(data []byte) (*Book, error) {
	if len(data) > maxDoc {
		return nil, fmt.Errorf("book of limits: larger than %d MiB", maxDoc>>20)
	}
	var doc bookDoc
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("book of limits: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("book of limits: something follows the document")
	}
	if doc.Version != version {
		return nil, fmt.Errorf("book of limits: version %d, want %d", doc.Version, version)
	}
	if len(doc.CAs) > maxCAs {
		return nil, fmt.Errorf("book of limits: %d CAs, at most %d are kept", len(doc.CAs), maxCAs)
	}
	b := &Book{cas: map[string]*ca{}}
	for directory, d := range doc.CAs {
		if err := d.check(directory); err != nil {
			return nil, fmt.Errorf("book of limits: %w", err)
		}
		c := b.ca(directory)
		maps.Copy(c.spent, d.Limits)
		maps.Copy(c.refused, d.Refused)
		c.used = d.Used
		if d.Breaker != nil {
			c.breaker = *d.Breaker
		}
	}
	if n := b.entries(); n > maxEntries {
		return nil, fmt.Errorf("book of limits: %d entries, at most %d are kept", n, maxEntries)
	}
	return b, nil
}

// check refuses what no book has.
func (d caDoc) check(directory string) error {
	if directory == "" || len(directory) > maxURL || len(d.Limits) > maxLimits {
		return errors.New("a CA without directory, or with too many limits")
	}
	times := []time.Time{d.Used}
	for name, bucket := range d.Limits {
		if name == "" || len(name) > maxKey || bucket == nil {
			return errors.New("a limit without name or entries")
		}
		for key, t := range bucket {
			if len(key) > maxKey || t.IsZero() {
				return errors.New("an entry without time, or with too long a key")
			}
			times = append(times, t)
		}
	}
	for key, t := range d.Refused {
		if len(key) > maxKey || t.IsZero() {
			return errors.New("a refusal without time, or with too long a key")
		}
		times = append(times, t)
	}
	if br := d.Breaker; br != nil {
		if br.Faults < 0 || br.Faults > tolerated || br.Opened < 0 || br.Opened > 1000 {
			return errors.New("a breaker with impossible counts")
		}
		times = append(times, br.Last, br.Until)
	}
	for _, t := range times {
		if y := t.Year(); !t.IsZero() && (y < 1970 || y > 2200) {
			return fmt.Errorf("a time in the year %d", y)
		}
	}
	return nil
}

// Encode returns the book as a JSON document, the same for the same book.
func (b *Book) Encode() ([]byte, error) {
	doc := bookDoc{Version: version, CAs: map[string]caDoc{}}
	for directory, c := range b.cas {
		d := caDoc{Limits: c.spent, Refused: c.refused, Used: c.used}
		if c.breaker != (breaker{}) {
			d.Breaker = &c.breaker
		}
		doc.CAs[directory] = d
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("book of limits: %w", err)
	}
	return append(data, '\n'), nil
}

// Clone returns a copy that shares nothing with b; of nil it is an empty book.
func (b *Book) Clone() *Book {
	out := &Book{cas: map[string]*ca{}}
	if b == nil {
		return out
	}
	for directory, c := range b.cas {
		d := *c
		d.refused = maps.Clone(c.refused)
		d.spent = map[string]map[string]time.Time{}
		for name, bucket := range c.spent {
			d.spent[name] = maps.Clone(bucket)
		}
		out.cas[directory] = &d
	}
	return out
}

// Prune drops what says nothing at now any more: full buckets, refusals and
// breakers whose time was over long ago. If the clock was set back since the
// last change, all times move with it. Call it at the beginning of each pass.
func (b *Book) Prune(now time.Time) {
	for directory, c := range b.cas {
		c.follow(now)
		c.prune(now)
		if len(c.spent) == 0 && len(c.refused) == 0 && c.breaker == (breaker{}) {
			delete(b.cas, directory)
		}
	}
}

func (c *ca) prune(now time.Time) {
	for name, bucket := range c.spent {
		maps.DeleteFunc(bucket, func(_ string, full time.Time) bool { return !full.After(now) })
		if len(bucket) == 0 {
			delete(c.spent, name)
		}
	}
	maps.DeleteFunc(c.refused, func(_ string, until time.Time) bool { return now.Sub(until).Abs() > 2*maxWait })
	if br := c.breaker; br.Last.Sub(now).Abs() > 2*maxWait && !br.until(now).After(now) {
		c.breaker = breaker{}
	}
}

// follow moves all times with a clock that was set back: what was to come in
// an hour by the clock of then comes in an hour by that of now.
func (c *ca) follow(now time.Time) {
	back := now.Sub(c.used)
	if c.used.IsZero() || back > -setBack {
		return
	}
	for _, bucket := range c.spent {
		for key, t := range bucket {
			bucket[key] = t.Add(back)
		}
	}
	for key, t := range c.refused {
		c.refused[key] = t.Add(back)
	}
	for _, t := range []*time.Time{&c.breaker.Last, &c.breaker.Until} {
		if !t.IsZero() {
			*t = t.Add(back)
		}
	}
	c.used = now.UTC()
}

// find returns the entry of a CA; nil if there is none.
func (b *Book) find(directory string) *ca {
	if b == nil {
		return nil
	}
	return b.cas[directory]
}

// ca returns the entry of a CA, a new one if there is none.
func (b *Book) ca(directory string) *ca {
	c := b.cas[directory]
	if c == nil {
		c = &ca{spent: map[string]map[string]time.Time{}, refused: map[string]time.Time{}}
		if b.cas == nil {
			b.cas = map[string]*ca{}
		}
		b.cas[directory] = c
	}
	return c
}

// change returns the entry of a CA that is about to be changed.
func (b *Book) change(directory string, now time.Time) *ca {
	c := b.ca(directory)
	c.follow(now)
	c.used = now.UTC()
	return c
}

// bound keeps the book at a bounded size after a change. What would be over
// soonest goes first, a quarter at once so that a full book is not searched for
// each entry.
func (b *Book) bound(now time.Time) {
	for len(b.cas) > maxCAs {
		delete(b.cas, slices.MinFunc(slices.Collect(maps.Keys(b.cas)), func(x, y string) int {
			return cmp.Or(b.cas[x].used.Compare(b.cas[y].used), cmp.Compare(x, y))
		}))
	}
	for _, c := range b.cas {
		for len(c.spent) > maxLimits {
			delete(c.spent, slices.Min(slices.Collect(maps.Keys(c.spent))))
		}
	}
	if b.entries() <= maxEntries {
		return
	}
	b.Prune(now)
	if drop := b.entries() - maxEntries*3/4; drop > 0 {
		b.shrink(drop)
	}
}

// entries returns how many buckets and refusals there are.
func (b *Book) entries() int {
	n := 0
	for _, c := range b.cas {
		n += len(c.refused)
		for _, bucket := range c.spent {
			n += len(bucket)
		}
	}
	return n
}

// shrink drops at least so many entries, those that would be over soonest.
func (b *Book) shrink(drop int) {
	var buckets []map[string]time.Time
	for _, c := range b.cas {
		buckets = append(buckets, c.refused)
		buckets = slices.AppendSeq(buckets, maps.Values(c.spent))
	}
	var all []time.Time
	for _, bucket := range buckets {
		all = slices.AppendSeq(all, maps.Values(bucket))
	}
	slices.SortFunc(all, time.Time.Compare)
	for _, bucket := range buckets {
		maps.DeleteFunc(bucket, func(_ string, t time.Time) bool { return !t.After(all[drop-1]) })
	}
}
