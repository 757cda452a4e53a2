package filter

import (
	"testing"

	"github.com/kafkaws/kafkaws/transforms"
)

// benchmarkValue is an event of about 200 bytes.
const benchmarkValue = `{"id":123456,"user":"u17","action":"click","page":"/home","ts":1716400000123,"tags":["a","b","c"],"geo":{"lat":52.52,"lon":13.405},"ua":"Mozilla/5.0 (X11; Linux x86_64)","ref":"https://kafka.local/"}`

// BenchmarkMatch is what a filter costs for one record: the first that is asked
// about it, and one more.
func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct{ name, expression string }{
		{"key", `record.key == "17"`},
		{"field", `record.value.user == "u17"`},
		{"in", `"c" in record.value.tags`},
		{"regexp", `record.value.user.matches("^u[0-9]+$")`},
		{"exists", `record.value.tags.exists(t, t == "c")`},
		{"header", `record.headers.exists(h, h.startsWith("x-"))`},
	} {
		f, err := Compile(c.expression)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name+"/first", func(b *testing.B) {
			r := of(benchmarkValue)
			b.ReportAllocs()
			for b.Loop() {
				if wanted, _, _ := f.Match(r, nil); !wanted {
					b.Fatal("not wanted")
				}
			}
		})
		b.Run(c.name+"/next", func(b *testing.B) {
			r := of(benchmarkValue)
			_, seen, _ := f.Match(r, nil)
			b.ReportAllocs()
			for b.Loop() {
				if wanted, _, _ := f.Match(r, seen); !wanted {
					b.Fatal("not wanted")
				}
			}
		})
	}
}

// BenchmarkHostile is what an expression that is out for work can take of one
// record of a MiB: by itself, and together with the first look into the value.
func BenchmarkHostile(b *testing.B) {
	for _, c := range []struct{ name, value, expression string }{
		{"loops", "texts", `record.value.l.all(a, record.value.l.all(b, record.value.l.all(c, a == b && b == c || true)))`},
		{"in", "words", `record.value.l.all(a, a in record.value.l)`},
		{"regexp", "texts", `record.value.l.exists(a, a.matches("(x+x+)+y"))`},
		{"contains", "text", repeated(`record.value.contains("xxxxxxy")`)},
		{"names", "names", `record.value.m.all(a, a != "x")`},
		{"decoding", "lists", repeated(`size(record.value.m)==0`)},
		{"deep", "deep", `record.value.all(a, record.value.a.a.a.a.a.a.a.a.a.a.a.a == 1)`},
	} {
		f, err := Compile(c.expression)
		if err != nil {
			b.Fatal(err)
		}
		for _, fresh := range []bool{true, false} {
			name := c.name + "/seen"
			if fresh {
				name = c.name + "/new"
			}
			b.Run(name, func(b *testing.B) {
				r := of(large[c.value])
				v := transforms.NewView(r)
				for range 3 { // until it is decoded
					f.Match(r, v)
				}
				b.ReportAllocs()
				for b.Loop() {
					if fresh {
						v = transforms.NewView(r)
					}
					f.Match(r, v)
				}
			})
		}
	}
}

// BenchmarkCompile is what a new expression costs.
func BenchmarkCompile(b *testing.B) {
	for name, expression := range map[string]string{
		"simple": `record.value.user == "u17"`,
		"usual":  `record.value.user == "bob" && record.value.tags.exists(t, t == "c")`,
		"worst":  repeated("[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]==1"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Compile(expression)
			}
		})
	}
}

// BenchmarkCache is what a known one costs.
func BenchmarkCache(b *testing.B) {
	c := NewCache(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(b.Context(), `record.value.user == "u17"`); err != nil {
			b.Fatal(err)
		}
	}
}
