package kafkaws

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// resolveSettings replaces, in a handler's configuration as JSON has it, the
// placeholders that are known when a configuration is loaded.
//
// One that is unknown or empty is an error and not an empty text: a pattern
// `{env.TENANT}*` whose variable is missing would become `*`, which is every
// topic. Only in patterns may a placeholder be unknown, because a request may
// know it. What codecs and transforms are configured with is theirs: what is not
// known there may be no placeholder at all, and they are loaded as they were
// written. Resolved, they tell handlers apart.
func resolveSettings(repl *caddy.Replacer, settings map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		replace := func(s string) (string, error) { return repl.ReplaceOrErr(s, true, true) }
		switch name {
		case "subscribe", "publish", "groups":
			replace = func(s string) (string, error) { return repl.ReplaceOrErr(s, true, false) }
		case "codecs", "transforms":
			replace = func(s string) (string, error) {
				if strings.Contains(s, "{time.") {
					return s, nil // it would be another configuration at each load
				}
				return repl.ReplaceKnown(s, ""), nil
			}
		}
		resolved, err := replaceStrings(settings[name], replace)
		if err != nil {
			return setting(name, err)
		}
		settings[name] = resolved
	}
	if cluster, ok := settings["cluster"].(map[string]any); ok {
		cluster["brokers"] = splitBrokers(cluster["brokers"])
	}
	return nil
}

// replaceStrings applies replace to all strings of a JSON value; keys of objects
// are names and stay as they are.
func replaceStrings(value any, replace func(string) (string, error)) (any, error) {
	var err error
	switch v := value.(type) {
	case string:
		return replace(v)
	case []any:
		for i := range v {
			if v[i], err = replaceStrings(v[i], replace); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if v[name], err = replaceStrings(v[name], replace); err != nil {
				return nil, setting(name, err)
			}
		}
	}
	return value, nil
}

// splitBrokers takes addresses apart that one placeholder stood for: a variable
// holds them as Kafka's own bootstrap.servers does, with commas between. Those
// that were written so are refused by Validate, which sees what was written.
func splitBrokers(brokers any) any {
	list, ok := brokers.([]any)
	if !ok {
		return brokers
	}
	var all []any
	for _, broker := range list {
		text, ok := broker.(string)
		if !ok {
			return brokers // decoding says what is wrong with it
		}
		for _, address := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
			all = append(all, address)
		}
	}
	return all
}
