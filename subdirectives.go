package kafkaws

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// A subdirective says how one line of a Caddyfile block is read. What is common
// to all of them, how often they may stand and how many arguments they take,
// is checked by unmarshalBlock, so that none can be lenient by oversight.
type subdirective struct {
	usage    string // its arguments, as messages show them
	min, max int    // how many arguments; max < 0 for any number
	repeats  bool   // whether it may be given more than once

	// Exactly one of these is set. set takes the arguments of a line; block
	// reads a block of further subdirectives; parse does all by itself, with d
	// at the subdirective's name.
	set   func(h *Handler, args []string) error
	block map[string]subdirective
	parse func(d *caddyfile.Dispenser, h *Handler) error
}

// readText reads one word.
func readText(usage string, check func(string) error, field func(*Handler) *string) subdirective {
	return subdirective{usage: usage, min: 1, max: 1, set: func(h *Handler, args []string) error {
		*field(h) = args[0]
		return check(args[0])
	}}
}

// readList reads words and adds them to those of earlier lines.
func readList(usage string, check func(string) error, field func(*Handler) *[]string) subdirective {
	return subdirective{usage: usage, min: 1, max: -1, repeats: true, set: func(h *Handler, args []string) error {
		*field(h) = append(*field(h), args...)
		return checkEach(args, check)
	}}
}

// readChoice reads one of a few words.
func readChoice(allowed choices, field func(*Handler) *string) subdirective {
	return readText(strings.Join(allowed.named(), "|"), allowed.check, field)
}

// readFlag reads a setting that is on when it is named.
func readFlag(field func(*Handler) *bool) subdirective {
	return subdirective{set: func(h *Handler, _ []string) error {
		*field(h) = true
		return nil
	}}
}

// readNumber reads a count. It cannot be 0, because in the JSON 0 is the same as
// nothing, which means the default.
func readNumber(field func(*Handler) *int) subdirective {
	return subdirective{usage: "<n>", min: 1, max: 1, set: func(h *Handler, args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 {
			return fmt.Errorf("got %q, expected a whole number from 1 up%s", args[0], numericHint(args[0]))
		}
		*field(h) = n
		return nil
	}}
}

// readSize reads a number of bytes.
func readSize(field func(*Handler) *int64) subdirective {
	return subdirective{usage: "<size>", min: 1, max: 1, set: func(h *Handler, args []string) error {
		n, err := parseSize(args[0])
		*field(h) = n
		return err
	}}
}

// readDuration reads a duration that is longer than nothing.
func readDuration(field func(*Handler) *caddy.Duration) subdirective {
	return subdirective{usage: "<duration>", min: 1, max: 1, set: func(h *Handler, args []string) error {
		length, err := caddy.ParseDuration(args[0])
		if err != nil || length <= 0 {
			return fmt.Errorf("got %q, expected a duration above 0, such as 500ms, 30s or 2m%s", args[0], numericHint(args[0]))
		}
		*field(h) = caddy.Duration(length)
		return nil
	}}
}

// readBlock reads a block of its own.
func readBlock(subs map[string]subdirective) subdirective {
	return subdirective{usage: "{ ... }", block: subs}
}

// parseSize reads a number of bytes above 0, with or without a unit.
func parseSize(value string) (int64, error) {
	n, err := humanize.ParseBytes(value)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, fmt.Errorf("got %q, expected a size above 0 and below 8EiB, such as 512KiB, 1MiB or 1000000%s", value, numericHint(value))
	}
	return int64(n), nil
}

// numericHint says what to do about a number that is none.
func numericHint(value string) string {
	if !hasPlaceholder(value) {
		return "; leave it out for the default"
	}
	return "; placeholders can stand in text only, but {$NAME} is replaced by an environment variable while the Caddyfile is read"
}

// unmarshalBlock reads the block that opens after d's current token.
func unmarshalBlock(d *caddyfile.Dispenser, h *Handler, of string, subs map[string]subdirective) error {
	if opens, empty := opensBlock(*d); !opens || empty {
		return d.Errf("%s: expects a block with at least one of %s", of, enumerate(slices.Sorted(maps.Keys(subs)), "and"))
	}
	firstLine := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		sub, known := subs[name]
		if !known {
			return d.Errf("%s: unknown subdirective %q; %s", of, name, suggest(name, subs))
		}
		if line, given := firstLine[name]; given && !sub.repeats {
			return d.Errf("%s: %s is given twice, first on line %d; keep one", of, name, line)
		}
		firstLine[name] = d.Line()
		if err := sub.unmarshal(d, h, name); err != nil {
			return err
		}
	}
	return nil
}

// unmarshal reads one subdirective, with d at its name.
func (s subdirective) unmarshal(d *caddyfile.Dispenser, h *Handler, name string) error {
	if s.parse != nil {
		return s.parse(d, h)
	}
	args := d.RemainingArgs()
	if len(args) < s.min || s.max >= 0 && len(args) > s.max {
		return d.Errf("%s: wrong number of arguments; write: %s", name, strings.TrimSpace(name+" "+s.usage))
	}
	if slices.Contains(args, "") {
		return d.Errf("%s: an argument is empty; write: %s %s", name, name, s.usage)
	}
	if s.block != nil {
		return unmarshalBlock(d, h, name, s.block)
	}
	if opens, _ := opensBlock(*d); opens {
		return d.Errf("%s: takes no block; write: %s", name, strings.TrimSpace(name+" "+s.usage))
	}
	if err := s.set(h, args); err != nil {
		return d.Errf("%s: %w", name, err)
	}
	return nil
}

// opensBlock reports whether a block opens after the current token, and
// whether nothing is in it. It takes a copy of the dispenser, which is how one
// looks ahead: the caller's stays where it is.
func opensBlock(d caddyfile.Dispenser) (opens, empty bool) {
	// A next token that is neither an argument nor on a new line is the brace.
	if d.NextArg() || d.NextLine() || !d.Next() {
		return false, false
	}
	return true, d.Next() && d.ValRaw() == "}"
}

// suggest says what an unknown name may have been meant to be.
func suggest(name string, subs map[string]subdirective) string {
	for _, outer := range slices.Sorted(maps.Keys(subdirectives)) {
		if _, ok := subdirectives[outer].block[name]; ok {
			return fmt.Sprintf("it belongs in %s { ... }", outer)
		}
	}
	if _, ok := subdirectives[name]; ok {
		return "it belongs in the block of " + directiveName + " itself"
	}
	known := slices.Sorted(maps.Keys(subs))
	best, distance := "", 3 // more than two slips are another word
	for _, candidate := range known {
		if n := editDistance(name, candidate); n < distance {
			best, distance = candidate, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "known are " + enumerate(known, "and")
}

// editDistance counts the bytes to insert, delete or replace to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
