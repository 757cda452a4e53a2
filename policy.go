package kafkaws

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/kafkaws/kafkaws/record"
)

// policy is what a site allows: which topics may be subscribed to, which may be
// published to, and which consumer groups may be joined. It is compiled once and
// shared by all requests.
type policy struct {
	subscribe, publish, groups patternList
	shared                     *topicPolicy // what every client may, when no pattern has a placeholder
}

// topicPolicy is what one client may. It never changes, and keeps nothing of
// the request that it was made for.
type topicPolicy struct {
	subscribe, publish, groups []glob
}

// newPolicy compiles patterns. Placeholders that it finds in them are those of
// requests: what is known earlier has to be replaced before.
func newPolicy(subscribe, publish, groups []string) (*policy, error) {
	var p policy
	var err error
	if p.subscribe, err = compilePatterns(subscribe); err != nil {
		return nil, setting("subscribe", err)
	}
	if p.publish, err = compilePatterns(publish); err != nil {
		return nil, setting("publish", err)
	}
	if p.groups, err = compilePatterns(groups); err != nil {
		return nil, setting("groups", err)
	}
	if !p.subscribe.personal && !p.publish.personal && !p.groups.personal {
		p.shared = &topicPolicy{subscribe: p.subscribe.globs, publish: p.publish.globs, groups: p.groups.globs}
	}
	return &p, nil
}

// resolve makes a client's policy by replacing placeholders with what its
// request has for them. It is called once, at the handshake: what the request
// was allowed then is what the session is allowed for its life.
func (p *policy) resolve(repl *caddy.Replacer) *topicPolicy {
	if p.shared != nil {
		return p.shared
	}
	return &topicPolicy{subscribe: p.subscribe.resolve(repl), publish: p.publish.resolve(repl), groups: p.groups.resolve(repl)}
}

// maySubscribe reports whether the client may subscribe to a topic.
func (t *topicPolicy) maySubscribe(topic string) bool { return matchAny(t.subscribe, topic) }

// mayPublish reports whether the client may publish to a topic.
func (t *topicPolicy) mayPublish(topic string) bool { return matchAny(t.publish, topic) }

// mayJoin reports whether the client may be a member of a consumer group.
func (t *topicPolicy) mayJoin(group string) bool { return matchAny(t.groups, group) }

func matchAny(globs []glob, topic string) bool {
	for _, g := range globs {
		if g.match(topic) {
			return true
		}
	}
	return false
}

// patternList is the patterns of one directive.
type patternList struct {
	patterns []pattern
	globs    []glob // the same, resolved, unless some are personal
	personal bool   // whether a pattern has a placeholder
}

func compilePatterns(patterns []string) (patternList, error) {
	var list patternList
	for _, s := range patterns {
		p, err := compilePattern(s)
		if err != nil {
			return patternList{}, err
		}
		list.patterns = append(list.patterns, p)
		list.personal = list.personal || p.personal()
	}
	if !list.personal {
		list.globs = list.resolve(nil)
	}
	return list, nil
}

func (l patternList) resolve(repl *caddy.Replacer) []glob {
	if l.globs != nil {
		return l.globs
	}
	globs := make([]glob, 0, len(l.patterns))
	for _, p := range l.patterns {
		if g, ok := p.resolve(repl); ok {
			globs = append(globs, g)
		}
	}
	return globs
}

// A pattern is text in which `*` stands for any run of characters, `?` for one,
// and `{name}` for what the request has under that name.
type pattern struct {
	parts []patternPart

	// Whether topics that begin with two underscores, which Kafka keeps for
	// itself, may match. The site must have written those underscores and no
	// wildcard: neither `*` nor the name of a user opens Kafka's own topics.
	internal bool
}

type patternPart struct {
	text        string
	placeholder bool
}

// personal reports whether the pattern says something else to each request.
func (p pattern) personal() bool {
	for _, part := range p.parts {
		if part.placeholder {
			return true
		}
	}
	return false
}

// compilePattern reads a pattern. One that no topic could ever match is an
// error, because whoever wrote it meant something else.
func compilePattern(s string) (pattern, error) {
	if s == "" {
		return pattern{}, errors.New("got an empty pattern; remove it, or write * for all topics")
	}
	var p pattern
	var letters int
	var wildcards bool
	for rest := s; rest != ""; {
		var part patternPart
		var err error
		if part, rest, err = nextPart(rest); err != nil {
			return pattern{}, fmt.Errorf("got pattern %q: %w", s, err)
		}
		p.parts = append(p.parts, part)
		if !part.placeholder {
			wildcards = wildcards || strings.ContainsAny(part.text, "*?")
			letters += len(part.text) - strings.Count(part.text, "*")
		}
	}
	p.internal = record.InternalTopic(p.parts[0].text) && !p.parts[0].placeholder && !wildcards
	switch {
	case letters > record.MaxTopicLength:
		return pattern{}, fmt.Errorf("got a pattern for names of %d characters and more (%.20q...), but topics have at most %d",
			letters, s, record.MaxTopicLength)
	case s == "." || s == "..":
		return pattern{}, fmt.Errorf("got pattern %q, which no topic may be called; remove it", s)
	case strings.HasPrefix(s, "__") && wildcards:
		return pattern{}, fmt.Errorf("got pattern %q, but topics that begin with two underscores are only matched by exact names; "+
			"write each name in full", s)
	}
	return p, nil
}

// nextPart cuts the first part, a placeholder or the text before the next one,
// from s, which is not empty. Placeholders are as Caddy's replacer has them, so
// a brace after a backslash neither opens nor closes one.
func nextPart(s string) (part patternPart, rest string, err error) {
	if open := unescapedBrace(s, '{'); open != 0 {
		text := s
		if open > 0 {
			text = s[:open]
		}
		for _, r := range text {
			if r != '*' && r != '?' && strings.TrimFunc(string(r), isTopicRune) != "" {
				return patternPart{}, "", fmt.Errorf("no topic's name can contain %q; names are made of letters, digits, dots, "+
					"underscores and hyphens, and * and ? stand for any of them (put a space between two patterns)", r)
			}
		}
		return patternPart{text: text}, s[len(text):], nil
	}
	end := unescapedBrace(s, '}')
	switch {
	case end < 0:
		return patternPart{}, "", errors.New("a placeholder is not closed; add the brace }")
	case end == 1:
		return patternPart{}, "", errors.New("a placeholder is empty; put a name into it, such as {http.auth.user.id}")
	}
	return patternPart{text: s[1:end], placeholder: true}, s[end+1:], nil
}

// unescapedBrace finds the first brace that no backslash stands before.
func unescapedBrace(s string, brace byte) int {
	for i := range len(s) {
		if s[i] == brace && (i == 0 || s[i-1] != '\\') {
			return i
		}
	}
	return -1
}

// resolve replaces the placeholders of the pattern. It reports false when one
// is unknown, empty, or something that no topic's name can contain. The last of
// these is what keeps values literal: a user called `*` has no wildcard, and
// one called `{http.request.host}` no placeholder.
func (p pattern) resolve(repl *caddy.Replacer) (glob, bool) {
	if len(p.parts) == 1 && !p.parts[0].placeholder {
		return glob{text: p.parts[0].text, internal: p.internal}, true
	}
	var text strings.Builder
	for _, part := range p.parts {
		value := part.text
		if part.placeholder {
			if repl == nil {
				return glob{}, false
			}
			var known bool
			value, known = repl.GetString(part.text)
			if !known || value == "" || len(value) > record.MaxTopicLength || strings.TrimFunc(value, isTopicRune) != "" {
				return glob{}, false
			}
		}
		text.WriteString(value)
	}
	return glob{text: text.String(), internal: p.internal}, true
}

// isTopicRune reports whether a topic's name may contain r.
func isTopicRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-'
}

// A glob is a pattern without placeholders.
type glob struct {
	text     string
	internal bool // whether it matches names that begin with two underscores
}

// match reports whether the whole name matches. Only the last `*` seen is ever
// gone back to: if the text between two of them is found at some place, then
// finding it further on cannot help what follows. So a name takes at most
// len(name) times len(pattern) steps, both of which are bounded, whatever the
// pattern.
func (g glob) match(name string) bool {
	if record.InternalTopic(name) && !g.internal {
		return false
	}
	p, star, retry := 0, -1, 0
	for n := 0; n < len(name); {
		switch {
		case p < len(g.text) && g.text[p] == '*':
			star, retry = p, n
			p++
		case p < len(g.text) && (g.text[p] == '?' || g.text[p] == name[n]):
			p++
			n++
		case star >= 0:
			retry++
			p, n = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(g.text[p:], "*") == ""
}
