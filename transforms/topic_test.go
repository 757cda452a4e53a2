package transforms

import (
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/record"
)

func TestTopic(t *testing.T) {
	t.Setenv("KAFKAWS_TEST", "internal")
	const (
		no   = " has no name: it is another's, as "
		such = ": no topic could have that name"
	)
	for _, c := range []struct{ segment, topic, want string }{
		{"topic a b", "a", "b"},
		{"topic a b", "b", `failed: the topic "b"` + no + `a is renamed to b`},
		{"topic a b", "c", "c"},
		{"topic a b", "A", "A"},
		{"topic internal.* *", "internal.orders", "orders"},
		{"topic internal.* *", "internal.internal.orders", "internal.orders"},
		{"topic internal.* *", "orders", `failed: the topic "orders"` + no + `internal.* is renamed to *`},
		{"topic internal.* *", "internal.", `failed: the topic "internal." cannot be renamed from internal.* to *` + such},
		{"topic internal.* *", "internal...", `failed: the topic "internal..." cannot be renamed from internal.* to *` + such},
		{"topic {env.KAFKAWS_TEST}.* *", "internal.orders", "orders"},
		{"topic * internal.*", "orders", "internal.orders"},
		{"topic * internal.*", "internal.orders", "internal.internal.orders"},
		{"topic * internal.*", strings.Repeat("x", 240), "internal." + strings.Repeat("x", 240)},
		{"topic * internal.*", strings.Repeat("x", 241), `failed: the topic "` + strings.Repeat("x", 241) + `" cannot be renamed from * to internal.*` + such},
		{"topic a*z b*y", "amz", "bmy"},
		{"topic a*z b*y", "az", "by"},
		{"topic a*z b*y", "a", "a"},
		{"topic a*a b*b", "a", "a"},
		{"topic a*a b*b", "aa", "bb"},
		{"topic *-v1 *", "orders-v1", "orders"},
		// Topics of Kafka's own are out of the reach of a `*`.
		{"topic * x-*", "__consumer_offsets", "__consumer_offsets"},
		{"topic x-* *", "x-__consumer_offsets", `failed: the topic "x-__consumer_offsets" cannot be renamed from x-* to *` + such},
		{"topic * _*", "_consumer_offsets", `failed: the topic "_consumer_offsets" cannot be renamed from * to _*` + such},
		{"topic __consumer_offsets offsets", "__consumer_offsets", "offsets"},
	} {
		for _, r := range []*record.Record{text("text"), text(`{"a":1}`), text("\xff\x00"), tombstone()} {
			r.Topic = c.topic
			keep, err := run(t, mustLoad(t, DirectionOut, c.segment), r)
			got := r.Topic
			if err != nil {
				got = failed + err.Error()
			}
			if keep != (err == nil) || got != c.want {
				t.Errorf("%s, %s: %v, %s, want %s", c.segment, c.topic, keep, got, c.want)
			}
		}
	}
}

// TestNames asks for the names of topics in chains; none is the one that a name
// does not have.
func TestNames(t *testing.T) {
	const none = "-"
	prefixed := []string{"topic internal.* *"}
	swapped := []string{"topic a tmp", "topic b a", "topic tmp b"}
	for _, c := range []struct {
		chain          []string // out; in, it is the other way round
		kafka, outward string
	}{
		{nil, "a", "a"},
		{nil, "__consumer_offsets", "__consumer_offsets"},
		{[]string{"header x y", "discard"}, "a", "a"},
		{[]string{"topic a b"}, "a", "b"},
		{[]string{"topic a b"}, "b", none},
		{[]string{"topic a b"}, none, "a"},
		{[]string{"topic a b"}, "c", "c"},
		{prefixed, "internal.orders", "orders"},
		{prefixed, "internal.internal.orders", "internal.orders"},
		{prefixed, "orders", none},
		{prefixed, "internal.", none},
		{prefixed, "__consumer_offsets", "__consumer_offsets"},
		{prefixed, "internal.__x", none},
		{[]string{"topic * x-*"}, "__consumer_offsets", "__consumer_offsets"},
		{[]string{"topic * x-*"}, none, "x-__consumer_offsets"},
		{[]string{"topic * x-*"}, none, "orders"},
		{[]string{"topic _* *"}, none, "_consumer_offsets"},
		{[]string{"topic __consumer_offsets offsets"}, "__consumer_offsets", "offsets"},
		{[]string{"topic __consumer_offsets offsets"}, none, "__consumer_offsets"},
		{[]string{"topic a b", "topic b c"}, "a", "c"},
		{[]string{"topic a b", "topic b c"}, "b", none},
		{[]string{"topic a b", "topic b c"}, none, "b"},
		{[]string{"topic a b", "topic b c"}, "c", none},
		{[]string{"topic a b", "header x y", "topic c a"}, "a", "b"},
		{[]string{"topic a b", "header x y", "topic c a"}, "c", "a"},
		{[]string{"topic v1.* *", "topic * web.*"}, "v1.x", "web.x"},
		{[]string{"topic v1.* *", "topic * web.*"}, "x", none},
		{[]string{"topic v1.* *", "topic * web.*"}, none, "x"},
		{swapped, "a", "b"},
		{swapped, "b", "a"},
		{swapped, "tmp", none},
		{swapped, none, "tmp"},
		{prefixed, none, strings.Repeat("x", 241)},
	} {
		var in []string
		for i := len(c.chain) - 1; i >= 0; i-- {
			words := strings.Fields(c.chain[i])
			if words[0] == "topic" {
				words[1], words[2] = words[2], words[1]
			}
			in = append(in, strings.Join(words, " "))
		}
		for direction, chain := range map[Direction][]string{DirectionOut: c.chain, DirectionIn: in} {
			names := NewNames(direction, mustLoad(t, direction, chain...))
			if c.kafka != none {
				got, ok := names.Outward(c.kafka)
				if !ok {
					got = none
				}
				if got != c.outward {
					t.Errorf("%s %v: %s is %s outwards, want %s", direction, chain, c.kafka, got, c.outward)
				}
			}
			if c.outward != none {
				got, ok := names.Inward(c.outward)
				if !ok {
					got = none
				}
				if got != c.kafka {
					t.Errorf("%s %v: %s is %s in Kafka, want %s", direction, chain, c.outward, got, c.kafka)
				}
			}
		}
	}
}

// FuzzTopic makes sure that renaming is one to one, and that the names of a chain
// are those that its records get.
func FuzzTopic(f *testing.F) {
	f.Add("internal.*", "*", "internal.orders")
	f.Add("a*a", "b*b", "aaa")
	f.Add("_*", "x*", "__x")
	f.Add("a", "b", "b")
	f.Fuzz(func(t *testing.T, from, to, name string) {
		out, in := &Topic{From: from, To: to}, &Topic{From: to, To: from}
		if strings.Contains(from+to, "{") || out.Provision(testContext) != nil {
			return
		}
		if err := in.Provision(testContext); err != nil {
			t.Fatal(err)
		}
		_, _ = out.SetDirection(DirectionOut), in.SetDirection(DirectionIn)
		if renamed, ok := out.Outward(name); ok && renamed != "" {
			if back, ok := out.Inward(renamed); !ok || back != name || !record.ValidTopic(renamed) {
				t.Fatalf("%q became %q, which became %q", name, renamed, back)
			}
		}
		names := NewNames(DirectionOut, []Transform{out})
		outward, known := names.Outward(name)
		r := &record.Record{Topic: name}
		keep, err := out.Transform(t.Context(), r)
		if !record.ValidTopic(name) {
			return
		}
		if keep != known || keep == (err != nil) || known && r.Topic != outward {
			t.Fatalf("%q became %q, %v, %v; its name is %q, %v", name, r.Topic, keep, err, outward, known)
		}
		if !known {
			return
		}
		if keep, err := in.Transform(t.Context(), r); !keep || err != nil || r.Topic != name {
			t.Fatalf("%q became %q, and that %q, %v", name, outward, r.Topic, err)
		}
		if record.InternalTopic(name) != record.InternalTopic(outward) && strings.Contains(from, "*") {
			t.Fatalf("%q became %q", name, outward)
		}
	})
}
