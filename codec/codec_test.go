package codec

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestModules(t *testing.T) {
	for id, want := range map[string]struct {
		subprotocol string
		binary      bool
	}{
		"http.kafka_websocket.codecs.text":   {"kafka-text", false},
		"http.kafka_websocket.codecs.binary": {"kafka-binary", true},
		"http.kafka_websocket.codecs.json":   {"kafka-json", false},
	} {
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Fatal(err)
		}
		c, ok := info.New().(Codec)
		if !ok {
			t.Fatalf("%s is no codec", id)
		}
		if c.Subprotocol() != want.subprotocol || c.Binary() != want.binary {
			t.Errorf("%s: subprotocol %q, binary %v", id, c.Subprotocol(), c.Binary())
		}
	}
}

func TestCaddyfile(t *testing.T) {
	for _, name := range []string{"text", "binary", "json"} {
		for _, c := range []struct{ tail, err string }{
			{"", ""},
			{" utf8", "the codec '" + name + "' takes no arguments, but 'utf8' was given, at Testfile:2"},
			{" utf8 {\n}", "the codec '" + name + "' takes no arguments, but 'utf8' was given, at Testfile:2"},
			{" {\n\tx\n}", "the codec '" + name + "' takes no block, at Testfile:2"},
		} {
			d := caddyfile.NewTestDispenser("\n" + name + c.tail)
			d.Next()
			_, err := caddyfile.UnmarshalModule(d, Namespace+"."+name)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.err {
				t.Errorf("codec %s%s: %q, want %q", name, c.tail, got, c.err)
			}
		}
	}
}

func TestCloseReasonFitsTheFrame(t *testing.T) {
	for _, reason := range []string{"", "short", strings.Repeat("x", 123), strings.Repeat("x", 124), "x" + strings.Repeat("Ж", 90)} {
		got := (&Error{reason}).CloseReason()
		if len(got) > maxReason || len(got) < min(len(reason), maxReason-3) || !utf8.ValidString(got) || !strings.HasPrefix(reason, got) {
			t.Errorf("%q became %q", reason, got)
		}
	}
}

// checkReason asserts that an error of Decode may be shown to a client.
func checkReason(t *testing.T, err error) {
	t.Helper()
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if len(e.Reason) == 0 || len(e.Reason) >= maxReason || !utf8.ValidString(e.Reason) {
		t.Fatalf("reason of %d bytes: %q", len(e.Reason), e.Reason)
	}
}
