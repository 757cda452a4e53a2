package transforms

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// What becomes of a value that is not JSON, in the transforms that edit JSON.
const (
	notJSONPass = "pass"
	notJSONDrop = "drop"
)

// syntax says how the Caddyfile segment of a transform is read, so that none is
// lenient by oversight.
type syntax struct {
	usage    string // its arguments, as messages show them
	min, max int    // how many
	// joined lets more arguments than one stand for one text, as Caddy's
	// `expression` does: they are put together as they were written, quotes
	// included.
	joined bool
	// options are the lines that the block may have, each a name and a value.
	options map[string]*string
}

// read reads the segment and returns the arguments.
func (s syntax) read(d *caddyfile.Dispenser) ([]string, error) {
	d.Next() // the transform's name
	name := d.Val()
	usage := strings.TrimSpace(name + " " + s.usage)
	var args []string
	if s.joined && d.CountRemainingArgs() > 1 {
		args = []string{strings.Join(d.RemainingArgsRaw(), " ")}
	} else {
		args = d.RemainingArgs()
	}
	if len(args) < s.min || len(args) > s.max {
		return nil, d.Errf("%s: wrong number of arguments; write: %s", name, usage)
	}
	if slices.Contains(args, "") {
		return nil, d.Errf("%s: an argument is empty; write: %s", name, usage)
	}
	given := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		value, known := s.options[option]
		switch {
		case s.options == nil:
			return nil, d.Errf("%s: takes no block; write: %s", name, usage)
		case !known:
			return nil, d.Errf("%s: unknown option %q; known are %s", name, option,
				strings.Join(slices.Sorted(maps.Keys(s.options)), " and "))
		case given[option] != 0:
			return nil, d.Errf("%s: %s is given twice, first on line %d; keep one", name, option, given[option])
		}
		given[option] = d.Line()
		if !d.Args(value) || *value == "" || d.CountRemainingArgs() > 0 || opensBlock(*d) {
			return nil, d.Errf("%s: %s takes one value", name, option)
		}
	}
	return args, nil
}

// opensBlock reports whether a block opens after the current token. It takes a
// copy of the dispenser, so that the caller's stays where it is.
func opensBlock(d caddyfile.Dispenser) bool {
	// A next token that is neither an argument nor on a new line is the brace.
	return !d.NextArg() && !d.NextLine() && d.Next()
}

// checkChoice checks the value of a setting; the first of those allowed is what
// holds when it is empty.
func checkChoice(setting, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: got %q, expected %s; leave it out for %s",
		setting, value, strings.Join(allowed, " or "), allowed[0])
}

// place says where in the text of a setting something is, for whoever wrote it.
// Columns count characters.
func place(text string, offset int) string {
	offset = min(max(offset, 0), len(text))
	before := text[:offset]
	lineStart := strings.LastIndexByte(before, '\n') + 1
	rest, _, _ := strings.Cut(text[offset:], "\n")
	near := fmt.Sprintf("at %q", shorten(rest, 20))
	if strings.TrimSpace(rest) == "" {
		near = "at the end"
	}
	return fmt.Sprintf("line %d, column %d, %s",
		strings.Count(before, "\n")+1, utf8.RuneCountInString(before[lineStart:])+1, near)
}

// shorten cuts a text that is longer than n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// maxErrorText is how much of what a library says about a record goes into an
// error: it may hold a good part of the record.
const maxErrorText = 200

// shortError returns an error of the same text, unless that is long.
func shortError(err error) error {
	return errors.New(shorten(err.Error(), maxErrorText))
}
