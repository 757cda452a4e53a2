package kafkaws_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/filter"
)

// TestDocumentedSequences has clients say what docs/protocol.md has them say, and
// compares what they are told. Each block has a Kafka of its own.
func TestDocumentedSequences(t *testing.T) {
	var sequences []block
	for _, b := range blocks(t, "docs/protocol.md") {
		if b.info == "sequence" {
			sequences = append(sequences, b)
		}
	}
	if len(sequences) < 5 {
		t.Fatalf("docs/protocol.md has %d sequences", len(sequences))
	}
	addr := freeAddr(t)
	config := global + "http://" + addr + " {\n"
	kafkas := make([]*kfake.Cluster, len(sequences))
	for i := range sequences {
		var err error
		if kafkas[i], err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "clicks")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kafkas[i].Close)
		directives := "subscribe orders clicks refunds\npublish orders clicks\n"
		if !strings.Contains(sequences[i].text, "ping_interval_ms") {
			directives += "ping_interval 1h\n" // progress is told once in that time, whenever that is
		}
		config += handleBlock(fmt.Sprintf("/%d/", i), kafkas[i].ListenAddrs()[0], directives)
	}
	s := &site{caddyProcess: startCaddy(t, config+"}\n"), addr: addr}
	for i, b := range sequences {
		t.Run(fmt.Sprint("line ", b.line), func(t *testing.T) {
			site := s.with(t)
			site.path = fmt.Sprintf("/%d/", i)
			run := &sequenceRun{t: t, site: site, kafka: kafkas[i], bound: make(map[string]any)}
			for line := range strings.Lines(b.text) {
				run.line(strings.TrimSuffix(line, "\n"))
			}
			run.end()
		})
	}
}

// sequenceRun executes a sequence.
type sequenceRun struct {
	t     *testing.T
	site  *site
	kafka *kfake.Cluster
	c     *jsonClient
	// bound are the values of names that begin with $.
	bound map[string]any
	// expected are frames that have not come yet: those in a row may come in any
	// order.
	expected []string
}

var (
	variable = regexp.MustCompile(`"?\$\w+"?`)
	// quotedVariable is one in a text that was made a regular expression.
	quotedVariable = regexp.MustCompile(`"?\\\$\w+"?`)

	makesTopic   = regexp.MustCompile(`^# Somebody makes the topic (\w+)\.$`)
	deletesUntil = regexp.MustCompile(`^# Kafka deletes the records of (\w+) before offset (\d+)\.$`)
)

// line executes a line.
func (r *sequenceRun) line(line string) {
	r.t.Helper()
	if frame, ok := strings.CutPrefix(line, "< "); ok {
		r.expected = append(r.expected, frame)
		return
	}
	r.settle()
	if query, ok := strings.CutPrefix(line, "GET /kafka"); ok {
		r.c = r.site.dialJSON(strings.TrimPrefix(query, "?"))
		r.c.pending = append(r.c.pending, r.c.welcome)
		return
	}
	if send, ok := strings.CutPrefix(line, "> "); ok {
		send = variable.ReplaceAllStringFunc(send, func(name string) string {
			value, known := r.bound[strings.Trim(name, `"`)]
			if !known {
				r.t.Fatalf("nobody has said what %s is", name)
			}
			return mustJSON(value)
		})
		if err := r.c.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if m := makesTopic.FindStringSubmatch(line); m != nil {
		admin := kadm.NewClient(kafkaClient(r.t, r.kafka.ListenAddrs()[0], kgo.ClientID("admin")))
		if _, err := admin.CreateTopic(r.t.Context(), 1, 1, nil, m[1]); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if m := deletesUntil.FindStringSubmatch(line); m != nil {
		offset, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.kafka.DeleteRecords(m[1], 0, offset); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if strings.HasPrefix(line, "# The connection breaks.") {
		r.end()
		_ = r.c.UnderlyingConn().Close()
		return
	}
	r.t.Fatalf("the test does not understand %q", line)
}

// settle waits for the frames that are expected.
func (r *sequenceRun) settle() {
	r.t.Helper()
	for _, want := range r.expected {
		batched := strings.HasPrefix(want, "[")
		var parsed any
		if err := json.Unmarshal([]byte(variable.ReplaceAllStringFunc(strings.Trim(want, "[]"), func(name string) string {
			return `"` + strings.Trim(name, `"`) + `"`
		})), &parsed); err != nil {
			r.t.Fatalf("%s: %v", want, err)
		}
		var got string
		r.c.wait(func(f *frame) bool {
			var value any
			if err := json.Unmarshal([]byte(f.raw), &value); err != nil {
				r.t.Fatal(err)
			}
			bound := maps.Clone(r.bound)
			if got = f.raw; !r.same(parsed, value) {
				r.bound = bound
				// What no line expects would be waited for in vain.
				if !r.expects(f) {
					r.t.Fatalf("got  %s\nwant %s", f.raw, want)
				}
				return false
			}
			return true
		})
		// Members are in the order that the page shows.
		pattern := quotedVariable.ReplaceAllString(regexp.QuoteMeta(strings.Trim(want, "[]")), `.+`)
		if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
			r.t.Errorf("got  %s\nwant %s", got, want)
		}
		if batched {
			if n := len(r.c.arrays); n == 0 || r.c.arrays[n-1] != 1 {
				r.t.Errorf("%s came in arrays of %v", want, r.c.arrays)
			}
		}
	}
	r.expected = nil
}

// expects tells whether a line that is still to come expects a frame of the kind.
func (r *sequenceRun) expects(f *frame) bool {
	for _, want := range r.expected {
		if strings.Contains(want, `"type":"`+f.Type+`"`) {
			return true
		}
	}
	return false
}

// same compares what is expected with what came, and notes what names stand for.
func (r *sequenceRun) same(want, got any) bool {
	switch want := want.(type) {
	case string:
		if !strings.HasPrefix(want, "$") {
			return want == got
		}
		if value, known := r.bound[want]; known {
			return reflect.DeepEqual(value, got)
		}
		r.bound[want] = got
		return true
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			return false
		}
		for name, value := range want {
			if member, there := object[name]; !there || !r.same(value, member) {
				return false
			}
		}
		return true
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		for i := range want {
			if !r.same(want[i], list[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(want, got)
	}
}

// end checks that nothing came that the page does not show.
func (r *sequenceRun) end() {
	r.t.Helper()
	r.settle()
	r.c.do("ping", nil, "pong")
	if left := r.c.unread(); left != "" {
		r.t.Errorf("the page does not have %s", left)
	}
}

// TestDocumentedFilters has the expressions of the documents compiled.
func TestDocumentedFilters(t *testing.T) {
	found := 0
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			if b.info != "cel" {
				continue
			}
			for expression := range strings.Lines(b.text) {
				found++
				if _, err := filter.Compile(expression); err != nil {
					t.Errorf("%s:%d: %s: %v", file, b.line, expression, err)
				}
			}
		}
	}
	if found == 0 {
		t.Error("the documents have no filter")
	}
}
