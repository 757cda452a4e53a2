package transforms

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// A template is text with placeholders, taken apart, so that what one stands for
// is taken literally and not searched for others.
type template []templatePart

type templatePart struct {
	text        string // or the placeholder's name
	placeholder bool
}

// parseTemplate reads placeholders as Caddy's replacer has them: a brace after a
// backslash is a brace.
func parseTemplate(s string) (template, error) {
	var t template
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '{' || s[i+1] == '}'):
			i++
			text.WriteByte(s[i])
		case s[i] == '{':
			name, _, closed := strings.Cut(s[i+1:], "}")
			if !closed {
				return nil, fmt.Errorf(`got %q, in which a placeholder is not closed; add the brace }, or write \{ for a brace`, s)
			}
			if name == "" {
				return nil, fmt.Errorf(`got %q, in which a placeholder is empty; put a name into it, or write \{\} for braces`, s)
			}
			if text.Len() > 0 {
				t = append(t, templatePart{text: text.String()})
				text.Reset()
			}
			t = append(t, templatePart{text: name, placeholder: true})
			i += 1 + len(name)
		default:
			text.WriteByte(s[i])
		}
	}
	if text.Len() > 0 {
		t = append(t, templatePart{text: text.String()})
	}
	return t, nil
}

// ofRequest returns the first placeholder that has no value, or not yet the one
// that is meant, when a configuration is loaded.
func (t template) ofRequest() (name string, ok bool) {
	for _, part := range t {
		if part.placeholder && !knownEarly(part.text) {
			return part.text, true
		}
	}
	return "", false
}

// knownEarly reports whether a placeholder has its value when a configuration is
// loaded. The time has one then, but nobody means that.
func knownEarly(name string) bool {
	for _, prefix := range []string{"env.", "file.", "system."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// replace replaces the placeholders that choose selects. One that is unknown or
// empty fails it.
func (t template) replace(repl *caddy.Replacer, choose func(name string) bool) (template, error) {
	replaced := make(template, 0, len(t))
	for _, part := range t {
		if part.placeholder && choose(part.text) {
			value, known := repl.GetString(part.text)
			if !known || value == "" {
				return nil, fmt.Errorf("the placeholder {%s} is unknown or empty", part.text)
			}
			part = templatePart{text: value}
		}
		replaced = append(replaced, part)
	}
	return replaced, nil
}

// replaceEarly replaces the placeholders that are known when a configuration is
// loaded.
func (t template) replaceEarly() (template, error) {
	return t.replace(caddy.NewReplacer(), knownEarly)
}

// text returns the text of a template without placeholders.
func (t template) text() string {
	var text strings.Builder
	for _, part := range t {
		text.WriteString(part.text)
	}
	return text.String()
}
