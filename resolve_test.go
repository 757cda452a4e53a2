package kafkaws

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// resolveJSON resolves settings that are given as JSON.
func resolveJSON(t *testing.T, config string) (*Handler, error) {
	t.Helper()
	t.Setenv("KAFKAWS_TEST_BROKERS", "a:9092, b:9092,\n")
	t.Setenv("KAFKAWS_TEST_WORD", "none")
	t.Setenv("KAFKAWS_TEST_EMPTY", "")
	var settings map[string]any
	if err := json.Unmarshal([]byte(config), &settings); err != nil {
		t.Fatal(err)
	}
	if err := resolveSettings(caddy.NewReplacer(), settings); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	h := new(Handler)
	return h, caddy.StrictUnmarshalJSON(raw, h)
}

func TestResolveSettings(t *testing.T) {
	h, err := resolveJSON(t, `{
		"name": "{env.KAFKAWS_TEST_WORD}",
		"cluster": {"brokers": ["{env.KAFKAWS_TEST_BROKERS}", "c:9092"], "client_id": "x-{env.KAFKAWS_TEST_WORD}"},
		"producer": {"acks": "{env.KAFKAWS_TEST_WORD}", "create_topics": true},
		"subscribe": ["{env.KAFKAWS_TEST_WORD}.{http.auth.user.id}.*", "b"],
		"origins": ["https://{env.KAFKAWS_TEST_WORD}"],
		"codecs": [{"codec": "probe", "args": ["{env.KAFKAWS_TEST_WORD}", "{env.KAFKAWS_TEST_EMPTY}", "{name}", "{time.now.unix}"]}],
		"limits": {"max_message_size": 1048577},
		"ping_interval": 25000000001
	}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Validate(); err != nil {
		t.Error(err)
	}
	got, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"none","cluster":{"brokers":["a:9092","b:9092","c:9092"],"client_id":"x-none"},` +
		`"producer":{"acks":"none","create_topics":true},"subscribe":["none.{http.auth.user.id}.*","b"],"origins":["https://none"],` +
		`"codecs":[{"args":["none","","{name}","{time.now.unix}"],"codec":"probe"}],"limits":{"max_message_size":1048577},"ping_interval":25000000001}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestResolveSettingsErrors(t *testing.T) {
	for config, want := range map[string]string{
		`{"cluster": {"brokers": ["{env.KAFKAWS_TEST_EMPTY}"]}}`: "cluster: brokers: evaluated placeholder {env.KAFKAWS_TEST_EMPTY} is empty",
		`{"cluster": {"brokers": ["{evn.KAFKA}"]}}`:              "cluster: brokers: unrecognized placeholder {evn.KAFKA}",
		`{"producer": {"acks": "{x}"}}`:                          "producer: acks: unrecognized placeholder {x}",
		`{"origins": ["https://{http.request.host}"]}`:           "origins: unrecognized placeholder",
		`{"start": "{env.KAFKAWS_TEST_EMPTY}"}`:                  "start: evaluated placeholder",
		`{"publish": ["inbox.{env.KAFKAWS_TEST_EMPTY}"]}`:        "publish: evaluated placeholder",
		// Without its value this would be the pattern of every topic.
		`{"subscribe": ["{env.KAFKAWS_TEST_EMPTY}*"]}`: "subscribe: evaluated placeholder",
	} {
		_, err := resolveJSON(t, config)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", config, err, want)
		}
	}
}

// What is wrong with a value is found when the value is known.
func TestResolvedSettingsAreValidated(t *testing.T) {
	for config, want := range map[string]string{
		`{"cluster": {"brokers": ["{env.KAFKAWS_TEST_WORD}"]}}`:                                   `brokers: got "none"`,
		`{"cluster": {"brokers": ["a:1"], "version": "{env.KAFKAWS_TEST_WORD}"}}`:                 `kafka_version: got "none"`,
		`{"cluster": {"brokers": ["a:1"]}, "start": "{env.KAFKAWS_TEST_WORD}"}`:                   `start: got "none"`,
		`{"cluster": {"brokers": ["a:1"]}, "consumer": {"isolation": "{env.KAFKAWS_TEST_WORD}"}}`: `consumer isolation: got "none"`,
		`{"cluster": {"brokers": ["a:1"]}, "subscribe": ["{env.KAFKAWS_TEST_BROKERS}"]}`:          `subscribe: got pattern "a:9092, b:9092`,
	} {
		h, err := resolveJSON(t, config)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", config, err, want)
		}
	}
}

func TestResolveSettingsOfAnotherShape(t *testing.T) {
	for _, config := range []string{`{}`, `{"cluster": 1}`, `{"cluster": {"brokers": "a"}}`, `{"cluster": {"brokers": [1]}}`} {
		if h, err := resolveJSON(t, config); err == nil && h.Validate() == nil {
			t.Errorf("%s was taken", config)
		}
	}
}
