package embedded

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// adapt adapts a Caddyfile and returns the JSON of the app, "" if there is none.
func adapt(t *testing.T, input string) (string, error) {
	t.Helper()
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var cfg struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(out, &cfg); err != nil {
		t.Fatal(err)
	}
	return string(cfg.Apps["kafka_embedded"]), nil
}

func TestCaddyfile(t *testing.T) {
	for name, tc := range map[string]struct{ input, want string }{
		"alone":       {"{\n\tkafka_embedded\n}\n", `{}`},
		"empty block": {"{\n\tkafka_embedded {\n\t}\n}\n", `{}`},
		"whole": {
			"{\n\tkafka_embedded {\n\t\tlisten 127.0.0.1:9999\n\t\ttopics chat orders:4\n\t\ttopics a.b_c-d\n\t}\n}\n",
			`{"listen":"127.0.0.1:9999","topics":[{"name":"chat","partitions":1},{"name":"orders","partitions":4},{"name":"a.b_c-d","partitions":1}]}`,
		},
		"placeholder": {
			"{\n\tkafka_embedded {\n\t\tlisten {env.BROKER}\n\t}\n}\n",
			`{"listen":"{env.BROKER}"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := adapt(t, tc.input)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("adapted to\n%s, want\n%s", got, tc.want)
			}
		})
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"unknown":               {"\n\tpartitions 4", `knows no "partitions"; it knows listen and topics, at Caddyfile:3`},
		"listen twice":          {"\n\tlisten localhost:1\n\tlisten localhost:2", "listen is given twice, at Caddyfile:4"},
		"listen without":        {"\n\tlisten", "wrong argument count or unexpected line ending after 'listen', at Caddyfile:3"},
		"listen two":            {"\n\tlisten localhost:1 localhost:2", "wrong argument count or unexpected line ending after 'localhost:2', at Caddyfile:3"},
		"listen no port":        {"\n\tlisten localhost", `listen address "localhost": address localhost: missing port in address; it is host:port, such as 127.0.0.1:19092, at Caddyfile:3`},
		"listen everywhere":     {"\n\tlisten 0.0.0.0:19092", "the broker sends its clients to that very address, at Caddyfile:3"},
		"listen empty host":     {"\n\tlisten :19092", "the broker sends its clients to that very address, at Caddyfile:3"},
		"listen by name":        {"\n\tlisten example.com:19092", "the host is localhost or one IP address"},
		"listen port 0":         {"\n\tlisten 127.0.0.1:0", "a number from 1 to 65535, at Caddyfile:3"},
		"listen port too large": {"\n\tlisten 127.0.0.1:65536", "a number from 1 to 65535"},
		"topics without":        {"\n\ttopics", "wrong argument count or unexpected line ending after 'topics', at Caddyfile:3"},
		"topic illegal":         {"\n\ttopics ok\n\ttopics a/b", `"a/b" is not a topic name: it takes 1 to 249 of the characters A-Z a-z 0-9 . _ - and is neither "." nor "..", at Caddyfile:4`},
		"topic empty":           {"\n\ttopics :4", `"" is not a topic name`},
		"topic twice":           {"\n\ttopics a b\n\ttopics a:2", `topic "a" is named twice, at Caddyfile:4`},
		"partitions word":       {"\n\ttopics a:many", `"a:many": the number of partitions is not a number, at Caddyfile:3`},
		"partitions empty":      {"\n\ttopics a:", `"a:": the number of partitions is not a number`},
		"partitions 0":          {"\n\ttopics a:0", `topic "a": 0 partitions; it takes 1 to 1000, at Caddyfile:3`},
		"partitions too many":   {"\n\ttopics a:1001", `topic "a": 1001 partitions; it takes 1 to 1000`},
		"block below":           {"\n\ttopics a {\n\t\tb\n\t}", "its subdirectives take no block"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := adapt(t, "{\n\tkafka_embedded {"+tc.body+"\n\t}\n}\n")
			wantError(t, err, tc.want)
		})
	}
	t.Run("argument", func(t *testing.T) {
		_, err := adapt(t, "{\n\tkafka_embedded 127.0.0.1:19092\n}\n")
		wantError(t, err, "wrong argument count or unexpected line ending after '127.0.0.1:19092', at Caddyfile:2")
	})
	t.Run("twice", func(t *testing.T) {
		_, err := adapt(t, "{\n\tkafka_embedded\n\tkafka_embedded\n}\n")
		wantError(t, err, "kafka_embedded stands here a second time")
		wantError(t, err, "at Caddyfile:3")
	})
}

func FuzzUnmarshalCaddyfile(f *testing.F) {
	f.Add("kafka_embedded {\n\tlisten 127.0.0.1:9999\n\ttopics chat orders:4\n}")
	f.Add("kafka_embedded {\n\ttopics {\n")
	f.Fuzz(func(_ *testing.T, body string) {
		// Whatever is written there, it is an error or a configuration.
		_, _, _ = caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\tkafka_embedded {\n"+body+"\n\t}\n}\n"), nil)
	})
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error\n%v, want one with\n%s", err, want)
	}
}
