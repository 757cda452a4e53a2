package filter

import (
	"runtime"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/kafkaws/kafkaws/transforms"
)

const mebibyte = 1 << 20

// fill repeats a text until there is about half a MiB of it.
func fill(text string) string { return strings.Repeat(text, mebibyte/2/len(text)) }

// large are values of about a MiB, each of a shape that some operation is slow on.
var large = map[string]string{
	"numbers":  `{"l":[` + fill("1,") + `1],"m":[` + fill("1,") + `1]}`,
	"texts":    `{"s":"` + fill("x") + `","t":"` + fill("x") + `","l":[` + strings.Repeat(`"`+strings.Repeat("x", 200)+`",`, 100) + `""]}`,
	"words":    `{"l":[` + fill(`"xxxxxxxxxxxxxxx",`) + `""],"m":["` + fill("x") + `","y"]}`,
	"lists":    `{"l":[` + fill("[[1]],") + `[]],"m":[` + fill("[[1]],") + `[]]}`,
	"objects":  `{"l":[` + fill(`{"a":{}},`) + `{}],"m":[` + fill(`{"a":{}},`) + `{}]}`,
	"names":    `{"m":{` + names(30_000) + `},"l":{` + names(30_000) + `}}`,
	"deep":     strings.Repeat(`{"a":`, 9000) + `"` + fill("xx") + `"` + strings.Repeat("}", 9000),
	"deepList": `{"l":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `,"m":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `}`,
	"escapes":  `{"l":["` + fill(`\u00e9`) + `"],"s":"` + fill(`\n`) + `"}`,
	"text":     fill("xx"),
	"list":     `[` + fill("1,1,") + `1]`,
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"name`)
		for d := i; d > 0; d /= 10 {
			b.WriteByte(byte('0' + d%10))
		}
		b.WriteString(`_":1`)
	}
	return b.String()
}

// hostile are expressions that are out for work.
var hostile = []string{
	`record.value.l.all(a, record.value.l.all(b, record.value.l.all(c, a == b && b == c || true)))`,
	`record.value.l.all(a, record.value.m.all(b, true))`,
	`record.value.l.all(a, record.value.m.exists(b, true))`,
	`record.value.l.exists(a, record.value.l.exists(b, a.nosuch))`,
	`record.value.all(a, record.value.all(b, a == b || true))`,
	`record.value.l.all(a, record.value.s == record.value.t)`,
	`record.value.l.all(a, record.value.s <= record.value.t)`,
	`record.value.l.all(a, record.value.s.contains(record.value.t))`,
	`record.value.l.all(a, size(record.value.s) > 0)`,
	`record.value.l.all(a, string(record.value.s) != "")`,
	`record.value.l.exists(a, int(record.value.s) == 0)`,
	`record.value.l.all(a, a.startsWith("x"))`,
	`record.value.l.all(a, record.value.s in record.value.l || true)`,
	`record.value.l.all(a, a in record.value.l)`,
	`record.value.l.all(a, "nosuch" in record.value.m || true)`,
	`record.value.l == record.value.m`,
	`[record.value.l] == [record.value.m]`,
	`[record.value.l] in [[record.value.m]]`,
	`record.value.l in record.value.m`,
	`record.value.l.all(a, record.value.m.all(b, a == b || true))`,
	`record.value.l.all(a, [a, a, a, a].all(b, [a, b, a, b].all(c, [a, b, c].all(d, [a, b, c, d].all(e, true)))))`,
	`record.value.s.matches("(x+x+)+y")`,
	`record.value.l.exists(a, a.matches("(x+x+)+y"))`,
	`record.value.l.exists(a, record.value.s.matches("x*y"))`,
	`record.value.matches("(.*)(.*)(.*)(.*)(.*)[^x]")`,
	repeated(`record.value.contains("xxxxxxy")`),
	repeated(`record.value.s.contains(record.value.t)&&false`),
	repeated(`record.value.m.all(a,false)`),
	repeated(`record.value.l[0]==2`),
	repeated(`size(record.value.m)==0`),
	repeated(`"y" in record.value.l`),
	repeated(`record.value.` + strings.Repeat("a.", 30) + `a==1`),
	repeated(`has(record.value.m.y)`),
	`record.value.l.exists(a, record.value.` + strings.Repeat("a.", 40) + `a==1)`,
}

// repeated is as many of an expression as there may be.
func repeated(expression string) string {
	const limit = 500
	return strings.Repeat(expression+"||", max(0, limit/len(expression)-1)) + expression
}

// counting counts the steps that a program goes through. What literals and fields
// are is looked up by the step that wants them.
type counting struct{ steps int }

func (c *counting) option() cel.ProgramOption {
	return cel.CustomDecoratorV2(func(step interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		switch step.(type) {
		case interpreter.InterpretableAttribute, interpreter.InterpretableConst:
			return step, nil
		}
		return &counted{step, c}, nil
	})
}

type counted struct {
	interpreter.InterpretableV2
	count *counting
}

func (c *counted) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	c.count.steps++
	return c.InterpretableV2.Exec(frame)
}

// TestWorkIsBounded counts the steps that hostile expressions make a filter do on
// large values.
func TestWorkIsBounded(t *testing.T) {
	most, exhausted := 0, 0
	views := make(map[string]*transforms.View)
	for name, value := range large {
		views[name] = transforms.NewView(of(value))
	}
	for _, expression := range hostile {
		var count counting
		f, err := compile(expression, count.option())
		if err != nil {
			t.Errorf("%.80s: %v", expression, err)
			continue
		}
		for name, view := range views {
			count.steps = 0
			_, spent, err := f.evaluate(view)
			if count.steps > Budget+maxNodes || spent > Budget {
				t.Errorf("%.80s of %s: %d steps, %d units", expression, name, count.steps, spent)
			}
			if err != nil && strings.Contains(err.Error(), "internal error") {
				t.Errorf("%.80s of %s: %v", expression, name, err)
			}
			most = max(most, count.steps)
			if spent == Budget {
				exhausted++
			}
		}
	}
	if exhausted < 20 {
		t.Errorf("only %d cost too much", exhausted)
	}
	t.Logf("at most %d steps; %d cost too much", most, exhausted)
}

// TestDecodingIsBounded counts the bytes that filters allocate for values that
// nobody has looked at before. What they say and spend is as for others.
func TestDecodingIsBounded(t *testing.T) {
	const limit = 120 * mebibyte // a small map takes some 350 bytes
	for name, value := range large {
		most := uint64(0)
		used := transforms.NewView(of(value))
		for _, expression := range []string{
			repeated(`record.value.m.all(a,false)`),
			repeated(`record.value.l[0]==2`),
			repeated(`record.value.` + strings.Repeat("a.", 30) + `a==1`),
			`record.value.l.exists(a, record.value.m.all(b, a == b))`,
			`record.value.all(a, record.value.all(b, a == b || true))`,
		} {
			f, err := Compile(expression)
			if err != nil {
				t.Fatal(err)
			}
			fresh := transforms.NewView(of(value))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			wanted, spent, _ := f.evaluate(fresh)
			runtime.ReadMemStats(&after)
			most = max(most, after.TotalAlloc-before.TotalAlloc)
			if again, spentAgain, _ := f.evaluate(used); again != wanted || spentAgain != spent {
				t.Errorf("%.80s of %s: %v for %d, but %v for %d after others", expression, name, wanted, spent, again, spentAgain)
			}
		}
		if most > limit {
			t.Errorf("%s: %d MiB allocated", name, most/mebibyte)
		}
		t.Logf("%s: %.1f MiB allocated", name, float64(most)/mebibyte)
	}
}

// TestPrices pins down what expressions cost.
func TestPrices(t *testing.T) {
	text := strings.Repeat("x", 1600)
	for _, c := range []struct {
		expression, value string
		want              int
	}{
		{`record.value.user == "u17"`, order, 0},
		{`record.value == record.value`, text, 50},
		{`record.value == "x"`, text, 0},
		{`record.value < record.value`, text, 50},
		{`record.value.contains("y")`, text, 50},
		{`size(record.value) == 1600`, text, 50},
		{`string(record.value) == "x"`, text, 50},
		{`record.value in ["a", "b", "c"]`, text, 3 + 3*50},
		{`2 in record.value`, "[" + strings.Repeat("1,", 99) + "1]", 100},
		{`record.value.matches("^x+$")`, text, 1601 * 4 / matchUnit},
		// The elements, and the parts of the expression in each round.
		{`record.value.exists(a, a == 3)`, "[1,1,1,3]", 4 + 4*14},
		{`record.value.all(a, record.value.all(b, true))`, "[" + strings.Repeat("1,", 99) + "1]", Budget},
	} {
		f, err := Compile(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if _, spent, _ := f.evaluate(transforms.NewView(of(c.value))); spent != c.want {
			t.Errorf("%s: %d units, want %d", c.expression, spent, c.want)
		}
	}
}
