package kafkaws

import (
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/gateway"
)

func TestNegotiateDeflate(t *testing.T) {
	const plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, c := range []struct {
		name    string
		headers []string
		answer  string
		bits    int
	}{
		{"no header", nil, "", 0},
		{"an empty header", []string{""}, "", 0},
		{"another extension", []string{"x-webkit-deflate-frame"}, "", 0},
		{"a longer name", []string{"permessage-deflate2"}, "", 0},

		// The examples of RFC 7692 §7.1.
		{"no parameters", []string{"permessage-deflate"}, plain, 0},
		{"what browsers offer", []string{"permessage-deflate; client_max_window_bits"}, plain, 0},
		{"both contexts", []string{"permessage-deflate;client_no_context_takeover;server_no_context_takeover"}, plain, 0},
		{"the client's window", []string{"permessage-deflate; client_max_window_bits=10"}, plain, 0},
		{"the server's window", []string{"permessage-deflate; server_max_window_bits=10"}, plain + "; server_max_window_bits=10", 8},
		{"both windows", []string{"permessage-deflate; client_max_window_bits; server_max_window_bits=15"}, plain + "; server_max_window_bits=15", 0},
		{"the smallest window", []string{"permessage-deflate; server_max_window_bits=8"}, plain + "; server_max_window_bits=8", 8},
		{"a quoted value", []string{`permessage-deflate; server_max_window_bits="9"`}, plain + "; server_max_window_bits=9", 8},

		// RFC 7692 §7.1: a server declines an offer of this kind.
		{"an unknown parameter", []string{"permessage-deflate; x"}, "", 0},
		{"a parameter twice", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, "", 0},
		{"a parameter twice, otherwise", []string{"permessage-deflate; server_max_window_bits=10; server_max_window_bits=11"}, "", 0},
		{"a value where none may be", []string{"permessage-deflate; server_no_context_takeover=1"}, "", 0},
		{"an empty value where none may be", []string{"permessage-deflate; client_no_context_takeover="}, "", 0},
		{"no value where one must be", []string{"permessage-deflate; server_max_window_bits"}, "", 0},
		{"an empty value", []string{"permessage-deflate; server_max_window_bits="}, "", 0},
		{"a window too small", []string{"permessage-deflate; server_max_window_bits=7"}, "", 0},
		{"a window too large", []string{"permessage-deflate; server_max_window_bits=16"}, "", 0},
		{"a client's window too large", []string{"permessage-deflate; client_max_window_bits=16"}, "", 0},
		{"a leading zero", []string{"permessage-deflate; server_max_window_bits=08"}, "", 0},
		{"a sign", []string{"permessage-deflate; server_max_window_bits=+9"}, "", 0},
		{"no number", []string{"permessage-deflate; client_max_window_bits=x"}, "", 0},
		{"half a quotation", []string{`permessage-deflate; server_max_window_bits="9`}, "", 0},
		{"two quotations", []string{`permessage-deflate; server_max_window_bits=""9""`}, "", 0},

		// RFC 7692 §7.1: offers are listed in the order of preference.
		{"the first that can be accepted", []string{"permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=12, permessage-deflate"}, plain + "; server_max_window_bits=12", 8},
		{"in several headers", []string{"foo; bar", "permessage-deflate; x", " permessage-deflate ; client_max_window_bits "}, plain, 0},
		{"behind another extension", []string{"foo;a=1;b=\"2\", permessage-deflate"}, plain, 0},
		{"none of several", []string{"permessage-deflate; x", "permessage-deflate; y"}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			deflate, answer := negotiateDeflate(c.headers, 64)
			if answer != c.answer {
				t.Errorf("got  %q\nwant %q", answer, c.answer)
			}
			want := gateway.Deflate{}
			if c.answer != "" {
				want = gateway.Deflate{On: true, MinSize: 64, WindowBits: c.bits}
			}
			if deflate != want {
				t.Errorf("got %+v, want %+v", deflate, want)
			}
		})
	}
}

func FuzzNegotiateDeflate(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits, permessage-deflate")
	f.Add(`permessage-deflate; server_max_window_bits="9"; client_no_context_takeover`)
	f.Add("foo;bar=,permessage-deflate;;server_max_window_bits=15")
	f.Fuzz(func(t *testing.T, header string) {
		deflate, answer := negotiateDeflate([]string{header}, 1)
		if !deflate.On {
			if answer != "" || deflate != (gateway.Deflate{}) {
				t.Fatalf("%q: declined with %q and %+v", header, answer, deflate)
			}
			return
		}
		if !strings.Contains(header, "permessage-deflate") {
			t.Fatalf("%q: accepted what was not offered", header)
		}
		if bits := deflate.WindowBits; bits != 0 && bits != minWindow {
			t.Fatalf("%q: accepted a window of %d bits", header, bits)
		}
		// The answer has the form of an offer and asks for the same.
		if again, same := negotiateDeflate([]string{answer}, 1); again != deflate || same != answer {
			t.Fatalf("%q: answered %q, which stands for %+v, not for %+v", header, answer, again, deflate)
		}
		// Where a list is cut into headers is of no meaning (RFC 9110 §5.3).
		if cut, same := negotiateDeflate(strings.Split(header, ","), 1); cut != deflate || same != answer {
			t.Fatalf("%q: in several headers it was answered %q, in one %q", header, same, answer)
		}
	})
}
