package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

// transformFunc is a transform of a test.
type transformFunc func(ctx context.Context, r *record.Record) (bool, error)

func (f transformFunc) Transform(ctx context.Context, r *record.Record) (bool, error) {
	return f(ctx, r)
}

// prefix puts a text before values, and counts.
func prefix(text string, calls *atomic.Int64) transformFunc {
	return func(_ context.Context, r *record.Record) (bool, error) {
		calls.Add(1)
		r.Value = append([]byte(text), r.Value...)
		return true, nil
	}
}

// TestOutChainRunsOnceForEachRecord has a thousand sessions follow a topic by
// three encodings of one chain, as those of two handlers with two codecs do, and
// some by another chain.
func TestOutChainRunsOnceForEachRecord(t *testing.T) {
	const sessions, others, records = 1000, 10, 200
	r := newRig(t, nil)
	var shared, apart atomic.Int64
	one := func() *Chain { return &Chain{ID: "one", Steps: []Transform{prefix("one ", &shared)}} }
	r.encodings = map[string]*Encoding{
		"handler1": {Chain: one(), ID: "raw", Codec: rawCodec{}},
		"handler2": {Chain: one(), ID: "raw", Codec: rawCodec{}},
		"binary":   {Chain: one(), ID: "raw binary", Codec: rawCodec{binary: true}},
		"other":    {Chain: &Chain{ID: "two", Steps: []Transform{prefix("two ", &apart)}}, ID: "raw", Codec: rawCodec{}},
	}
	values := numbered(records, 10)
	var wg sync.WaitGroup
	follow := func(encoding, before string) {
		ws := r.dial("a&encoding=" + encoding)
		wg.Go(func() {
			for _, value := range values {
				_, p, err := ws.ReadMessage()
				if err != nil || string(p) != before+value {
					t.Errorf("%s: got %q, %v, want %q", encoding, p, err, before+value)
					return
				}
			}
		})
	}
	for i := range sessions {
		follow([]string{"handler1", "handler2", "binary"}[i%3], "one ")
	}
	for range others {
		follow("other", "two ")
		follow("", "")
	}
	for i := range 4 {
		n := records / 4
		r.source.feed("a", 0, int64(i*n), values[i*n:(i+1)*n]...)
	}
	wg.Wait()
	if got := shared.Load(); got != records {
		t.Errorf("the chain of %d sessions ran %d times for %d records", sessions, got, records)
	}
	if got := apart.Load(); got != records {
		t.Errorf("the other chain ran %d times for %d records", got, records)
	}
}

// TestOutChainDropsAndFails checks that what a chain drops is not sent, and that
// a failure is told of.
func TestOutChainDropsAndFails(t *testing.T) {
	var mu sync.Mutex
	var told []string
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) {
		h.Skipped = func(topic string, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, topic+": "+err.Error())
		}
	})
	var after atomic.Int64
	chain := &Chain{ID: "drops", Steps: []Transform{
		transformFunc(func(_ context.Context, r *record.Record) (bool, error) {
			switch string(r.Value) {
			case "drop":
				return false, nil
			case "fail":
				return true, errors.New("it failed")
			}
			return true, nil
		}),
		prefix("", &after),
	}}
	r.encoding = &Encoding{Chain: chain, ID: "raw", Codec: rawCodec{}}
	r.source.stored = map[int32][]string{0: {"drop", "1", "fail", "2", "drop"}}
	live := r.dial("a")
	all := r.dial("a&earliest")
	r.source.feed("a", 0, 5, "fail", "drop", "3")
	if got := read(t, live); got != "3" {
		t.Errorf("live: got %q", got)
	}
	for _, want := range []string{"1", "2", "3"} {
		if got := read(t, all); got != want {
			t.Errorf("from the beginning: got %q, want %q", got, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"a: it failed", "a: it failed"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
	if got := after.Load(); got != 3 {
		t.Errorf("the second step ran %d times, want 3", got)
	}
}

// TestStuckTransformHarmsItsTopicAlone has a transform hang on a topic: other
// topics go on, for sessions that there are and for new ones, and so does
// everything but records for those of the topic.
func TestStuckTransformHarmsItsTopicAlone(t *testing.T) {
	stuck := make(chan struct{}, 1)
	release := make(chan struct{})
	hang := transformFunc(func(_ context.Context, r *record.Record) (bool, error) {
		if r.Topic == "a" {
			stuck <- struct{}{}
			<-release // without a look at the context
		}
		return true, nil
	})
	r := newRig(t, nil)
	r.encoding = &Encoding{Chain: &Chain{ID: "hang", Steps: []Transform{hang}}, ID: "raw", Codec: rawCodec{}}
	defer sync.OnceFunc(func() { close(release) })()

	onA, onB, onBoth := r.dial("a"), r.dial("b"), r.dial("a", "b")
	r.source.feed("a", 0, 0, "a0")
	<-stuck
	// Nothing of the source's may wait for it either.
	r.source.feed("a", 0, 1, "a1")
	r.source.sink("a").Started(record.Started{Next: map[int32]int64{1: 0}})
	for i := range 10 {
		value := fmt.Sprint("b", i)
		r.source.feed("b", 0, int64(i), value)
		for _, ws := range []*websocket.Conn{onB, onBoth} {
			if got := read(t, ws); got != value {
				t.Fatalf("got %q, want %q", got, value)
			}
		}
	}
	late := r.dial("b")
	lateOnA := r.dial("a")
	r.source.feed("b", 0, 10, "late")
	if got := read(t, late); got != "late" {
		t.Fatalf("a new session got %q", got)
	}
	release <- struct{}{}
	<-stuck
	release <- struct{}{}
	for _, ws := range []*websocket.Conn{onA, lateOnA} {
		for _, want := range []string{"a0", "a1"} {
			if got := read(t, ws); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

// TestSlowTransformRunsOutOfTime has a transform wait for its context: the record
// is skipped and the next one gets time of its own.
// TestTransformThatPanics loses the record that it panics on, and nothing else.
func TestTransformThatPanics(t *testing.T) {
	failed := make(chan error, 1)
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) {
		h.Skipped = func(_ string, err error) { failed <- err }
	})
	r.encoding.Chain = &Chain{ID: "panics", Steps: []Transform{transformFunc(func(_ context.Context, r *record.Record) (bool, error) {
		if string(r.Value) == "bad" {
			panic("cannot stand it")
		}
		return true, nil
	})}}
	ws := r.dial("a")
	r.source.feed("a", 0, 0, "1", "bad", "3")
	if got := read(t, ws) + read(t, ws); got != "13" {
		t.Error(got)
	}
	if err := <-failed; !strings.Contains(err.Error(), "cannot stand it") {
		t.Error(err)
	}
}

func TestSlowTransformRunsOutOfTime(t *testing.T) {
	skipped := make(chan error, 10)
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) {
		h.Skipped = func(_ string, err error) { skipped <- err }
	})
	slow := transformFunc(func(ctx context.Context, r *record.Record) (bool, error) {
		if string(r.Value) != "slow" {
			return ctx.Err() == nil, ctx.Err()
		}
		<-ctx.Done()
		return true, ctx.Err()
	})
	r.encoding = &Encoding{Chain: &Chain{ID: "slow", Steps: []Transform{slow}, Limit: 20 * time.Millisecond}, ID: "raw", Codec: rawCodec{}}
	ws := r.dial("a")
	r.source.feed("a", 0, 0, "0", "slow", "1", "slow", "2")
	for _, want := range []string{"0", "1", "2"} {
		if got := read(t, ws); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	for range 2 {
		if err := <-skipped; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("skipped for %v", err)
		}
	}
}

// TestSlowReplayLetsOthersPass has the past of one topic take long to transform:
// the session's other topics get their turn before the next record of it.
func TestSlowReplayLetsOthersPass(t *testing.T) {
	slow := transformFunc(func(ctx context.Context, r *record.Record) (bool, error) {
		if r.Topic == "a" && r.Offset == 0 {
			<-ctx.Done()
		}
		r.Value = append([]byte(r.Topic+" "), r.Value...)
		return true, nil
	})
	r := newRig(t, nil)
	r.encoding = &Encoding{Chain: &Chain{ID: "slow", Steps: []Transform{slow}, Limit: 20 * time.Millisecond}, ID: "raw", Codec: rawCodec{}}
	r.source.stored = map[int32][]string{0: {"0", "1", "2"}}
	ws := r.dial("a", "b&earliest")
	for _, want := range []string{"a 0", "b 0", "b 1", "b 2", "a 1", "a 2"} {
		if got := read(t, ws); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	r.source.feed("a", 0, 3, "3")
	if got := read(t, ws); got != "a 3" {
		t.Errorf("got %q", got)
	}
}

// TestInChain sends records through a chain: the producer and the policy get what
// comes out.
func TestInChain(t *testing.T) {
	written := make(chan string, 10)
	type drop struct {
		topic string
		err   error
	}
	dropped := make(chan drop, 10)
	denied := make(chan string, 10)
	r := newRig(t, func(_ *HubConfig, p *PoolConfig) {
		p.Discarded = func(topic string, err error) { dropped <- drop{topic, err} }
		p.Denied = func(topic string) { denied <- topic }
	})
	r.producer.publish = func(r *record.Record, done func(record.Outcome)) error {
		written <- r.Topic + " " + string(r.Value)
		go done(record.Outcome{})
		return nil
	}
	failure := errors.New("it failed")
	r.chain = &Chain{Limit: 20 * time.Millisecond, Steps: []Transform{
		transformFunc(func(ctx context.Context, r *record.Record) (bool, error) {
			switch string(r.Value) {
			case "drop":
				return false, nil
			case "fail":
				return true, failure
			case "slow":
				<-ctx.Done()
				return true, ctx.Err()
			case "illegal":
				r.Topic = "no topic"
			}
			return true, nil
		}),
		transformFunc(func(_ context.Context, r *record.Record) (bool, error) {
			if topic, ok := strings.CutPrefix(r.Topic, "to-"); ok {
				r.Topic = topic
			}
			r.Value = append([]byte("changed "), r.Value...)
			return true, nil
		}),
	}}
	send := func(ws *websocket.Conn, message string) {
		t.Helper()
		if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	ws := r.dial()
	for _, value := range []string{"drop", "fail", "slow", "keep"} {
		send(ws, "a "+value)
	}
	if got := <-written; got != "a changed keep" {
		t.Errorf("wrote %q", got)
	}
	for _, want := range []drop{{"a", nil}, {"a", failure}, {"a", context.DeadlineExceeded}} {
		if got := <-dropped; got != want {
			t.Errorf("dropped %v, want %v", got, want)
		}
	}
	// What a client names is not what is judged.
	send(ws, "to-b keep")
	if got := <-written; got != "b changed keep" {
		t.Errorf("wrote %q", got)
	}
	send(ws, "to-forbidden drop")
	if got := <-dropped; got != (drop{"to-forbidden", nil}) {
		t.Errorf("dropped %v", got)
	}
	send(ws, "to-forbidden keep")
	if code, _ := readClose(t, ws); code != ClosePolicy || r.awaitEnd() != ClosePolicy {
		t.Errorf("closed with %d", code)
	}
	if got := <-denied; got != "forbidden" {
		t.Errorf("denied %q", got)
	}
	ws = r.dial()
	send(ws, "a illegal")
	if code, _ := readClose(t, ws); code != ClosePolicy || r.awaitEnd() != ClosePolicy {
		t.Errorf("closed with %d", code)
	}
	if len(written) > 0 || len(dropped) > 0 || len(denied) > 0 {
		t.Error("there was more")
	}
}

func TestTimeboxExpires(t *testing.T) {
	var box timebox
	ctx := box.open(10 * time.Millisecond)
	if until, ok := ctx.Deadline(); !ok || time.Until(until) > 10*time.Millisecond {
		t.Errorf("ends at %v, %v", until, ok)
	}
	<-ctx.Done()
	if err := ctx.Err(); err != context.DeadlineExceeded {
		t.Errorf("ended by %v", err)
	}
	box.close()
	if err := ctx.Err(); err != context.DeadlineExceeded {
		t.Errorf("afterwards it had ended by %v", err)
	}

	// Without a timer, the clock alone ends it.
	ctx = box.open(-time.Second)
	if err := ctx.Err(); err != context.DeadlineExceeded {
		t.Errorf("ended by %v", err)
	}
	<-ctx.Done()
	box.close()

	// The same, the other way round.
	ctx = box.open(-time.Second)
	<-ctx.Done()
	if err := ctx.Err(); err != context.DeadlineExceeded {
		t.Errorf("ended by %v", err)
	}
	box.close()
}

func TestTimeboxServesOneRecordAfterAnother(t *testing.T) {
	var box timebox
	first := box.open(time.Hour)
	box.close()
	second := box.open(-time.Second)
	if second.Err() == nil {
		t.Error("the second record has the time of the first")
	}
	box.close()
	third := box.open(time.Hour)
	if err := third.Err(); err != nil {
		t.Errorf("the third record begins with %v", err)
	}
	if first != second || second != third {
		t.Error("contexts that nobody waits for are not used again")
	}
	done := third.Done()
	box.close()
	<-done
	if err := third.Err(); err != context.Canceled {
		t.Errorf("a record's context ended by %v with it", err)
	}
	if fourth := box.open(time.Hour); fourth == third || fourth.Err() != nil {
		t.Error("a context that has ended is used again")
	}
	box.close()
	if n := testing.AllocsPerRun(100, func() {
		_ = box.open(time.Hour).Err()
		box.close()
	}); n > 0 {
		t.Errorf("a record takes %v allocations", n)
	}
}

// TestTimeboxMayBeDerivedFrom makes contexts of records the parents of others,
// of which some are never cancelled. The context package panics when a parent is
// done without an error.
func TestTimeboxMayBeDerivedFrom(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		wg.Go(func() {
			var box timebox
			for i := range 2000 {
				ctx := box.open(time.Duration(i%3) * 100 * time.Microsecond)
				child, cancel := context.WithTimeout(ctx, time.Hour)
				waited := make(chan struct{})
				wg.Go(func() {
					defer close(waited)
					<-child.Done()
					if child.Err() == nil {
						t.Error("done without an error")
					}
				})
				if i%2 == 0 {
					cancel()
				}
				box.close()
				<-waited
				cancel()
			}
		})
	}
}
