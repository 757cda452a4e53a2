package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// TestErrorsHaveKafkasNames: an error that is a broker's answer tells the name
// that Kafka's documentation has for it.
func TestErrorsHaveKafkasNames(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{MaxMessageBytes: 1000})
	o := newOutcomes()
	check := func(err, is error, want string) {
		t.Helper()
		var named interface{ KafkaError() string }
		got := ""
		if errors.As(err, &named) {
			got = named.KafkaError()
		}
		if !errors.Is(err, is) || got != want {
			t.Errorf("%v has the name %q, want %q", err, got, want)
		}
	}
	for _, c := range []struct {
		fault error
		is    error
	}{
		{kerr.TopicAuthorizationFailed, record.ErrRefused},
		{kerr.MessageTooLarge, record.ErrTooLarge},
		{kerr.InvalidRecord, record.ErrRefused},
		{kerr.PolicyViolation, record.ErrRefused},
	} {
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: c.fault.(*kerr.Error)})
		publish(t, p, o, text("a", "x"))
		check(o.wait(t, 1)[0].Err, c.is, c.fault.(*kerr.Error).Message)
	}
	check(p.Publish(t.Context(), text("a", strings.Repeat("x", 2000)), o.done), record.ErrTooLarge, "")
	check(p.Publish(t.Context(), text("none", "x"), o.done), record.ErrUnknownTopic, "")
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "b", Err: kerr.TopicAuthorizationFailed, Count: -1})
	check(p.Publish(t.Context(), text("b", "x"), o.done), record.ErrRefused, "TOPIC_AUTHORIZATION_FAILED")
}
