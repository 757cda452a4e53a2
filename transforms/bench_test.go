package transforms

import (
	"testing"

	"github.com/kafkaws/kafkaws/record"
)

// benchmarkValue is an event of about 200 bytes.
const benchmarkValue = `{"id":123456,"user":"alice","action":"click","page":"/home","ts":1716400000123,"tags":["a","b","c"],"geo":{"lat":52.52,"lon":13.405},"ua":"Mozilla/5.0 (X11; Linux x86_64)","ref":"https://kafka.local"}`

// BenchmarkTransform is what each transform costs for one record.
func BenchmarkTransform(b *testing.B) {
	for _, c := range []struct{ name, segment, topic, value string }{
		{"timestamp/add", "timestamp time", "orders", benchmarkValue},
		{"timestamp/replace", "timestamp ts unix_ms", "orders", benchmarkValue},
		{"timestamp/text", "timestamp time", "orders", "text"},
		{"discard/all", "discard", "orders", benchmarkValue},
		{"filter/topic", "filter `record.topic == 'orders'`", "orders", benchmarkValue},
		{"filter/key", "filter `record.key.startsWith('k')`", "orders", benchmarkValue},
		{"filter/header", "filter `record.headers.a == '2'`", "orders", benchmarkValue},
		{"filter/field", "filter `record.value.user == 'alice'`", "orders", benchmarkValue},
		{"filter/nested", "filter `record.value.geo.lat > 50.0 && record.value.action in ['click', 'view']`", "orders", benchmarkValue},
		{"filter/loop", "filter `record.value.tags.exists(t, t == 'c')`", "orders", benchmarkValue},
		{"filter/decoded", "filter `record.value.size() == 9`", "orders", benchmarkValue},
		{"jq/field", "jq .user", "orders", benchmarkValue},
		{"jq/delete", "jq `del(.ua)`", "orders", benchmarkValue},
		{"jq/object", "jq `select(.action == \"click\") | {id, user, key: $key}`", "orders", benchmarkValue},
		{"jq/text", "jq .user", "orders", "text"},
		{"header/set", "header x 1", "orders", benchmarkValue},
		{"header/delete", "header -a", "orders", benchmarkValue},
		{"header/absent", "header -x", "orders", benchmarkValue},
		{"topic/exact", "topic orders web", "orders", benchmarkValue},
		{"topic/cut", "topic internal.* *", "internal.orders", benchmarkValue},
		{"topic/add", "topic * internal.*", "orders", benchmarkValue},
		{"topic/other", "topic a b", "orders", benchmarkValue},
	} {
		b.Run(c.name, func(b *testing.B) {
			transform, err := load(b, DirectionOut, c.segment)
			if err != nil {
				b.Fatal(err)
			}
			original := text(c.value)
			original.Topic = c.topic
			var r record.Record
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				r = *original
				if _, err := transform.Transform(ctx, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSharedView is what one more expression costs for a record that others
// have looked at.
func BenchmarkSharedView(b *testing.B) {
	e, err := CompileExpression(`record.value.user == "bob"`, CostLimit)
	if err != nil {
		b.Fatal(err)
	}
	ctx, view := b.Context(), NewView(text(benchmarkValue))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Match(ctx, view); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompileExpression is what a client's filter costs when it subscribes.
func BenchmarkCompileExpression(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CompileExpression(`record.value.user == "bob" && record.value.tags.exists(t, t == "c")`, CostLimit); err != nil {
			b.Fatal(err)
		}
	}
}
