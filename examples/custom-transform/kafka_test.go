package customtransform_test

import (
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/exampletest"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// module is this example.
const module = "github.com/kafkaws/kafkaws/examples/custom-transform"

// TestKafka has a Caddy with both transforms work on a real Kafka.
func TestKafka(t *testing.T) {
	kafka, topic := kafkatest.Start(t), kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 1, nil)
	s := exampletest.StartCaddy(t, module, "{$KAFKA_BROKERS:localhost:9092}", kafka.Addr(), "subscribe payments", "subscribe "+topic, "publish payments", "publish "+topic)

	reader := s.Dial("bob", "topics="+topic, "kafka-text")
	binary := s.Dial("bob", "topics="+topic, "kafka-binary")
	alice, bob := s.Dial("alice", "", "kafka-text"), s.Dial("bob", "", "kafka-text")
	for i, c := range []struct {
		from              *exampletest.Client
		key, value        string
		inKafka, outgoing string
	}{
		{
			alice, "1", `{"card":"4111 1111 1111 1111","amount":12.50}`,
			`{"card":"4111 1111 1111 1111","amount":12.50,"user":"alice"}`,
			`{"card":"**** **** **** 1111","amount":12.50,"user":"alice"}`,
		},
		{
			bob, "2", `{"User":"alice","user":"alice","card_number":5500005555555559}`,
			`{"card_number":5500005555555559,"user":"bob"}`,
			`{"card_number":"************5559","user":"bob"}`,
		},
		{alice, "2", "", "", ""}, // a tombstone
	} {
		message := `{"topic":"` + topic + `","key":"` + c.key + `","message":`
		frame := "null"
		if c.value != "" {
			frame = c.value
		}
		c.from.Send(websocket.TextMessage, []byte(`{"topic":"`+topic+`","key":"9","message":"4111 1111 1111 1111"}`)) // dropped
		c.from.Send(websocket.TextMessage, []byte(message+frame+"}"))

		want := message + "null}"
		if c.outgoing != "" {
			want = message + `"` + strings.ReplaceAll(c.outgoing, `"`, `\"`) + `"}`
		}
		if got := string(reader.Read(websocket.TextMessage)); got != want {
			t.Errorf("%d: out came\n%s\nwant\n%s", i, got, want)
		}
		if got, want := string(binary.Read(websocket.BinaryMessage)), string(rune(len(topic)))+topic+c.outgoing; got != want {
			t.Errorf("%d: out came\n%q\nwant\n%q", i, got, want)
		}
		records := kafka.ReadAll(t, topic)
		if len(records) != i+1 {
			t.Fatalf("Kafka has %d records, want %d", len(records), i+1)
		}
		if got := records[i]; string(got.Key) != c.key || string(got.Value) != c.inKafka || (got.Value == nil) != (c.inKafka == "") {
			t.Errorf("%d: Kafka has %q: %q, want %q", i, got.Key, got.Value, c.inKafka)
		}
	}

	// What others write is masked as well, or held back.
	kafka.Produce(t, topic, kafkatest.KV("3", `[{"card":"4111 1111 1111 1111"}]`), kafkatest.KV("4", `{"CARD":"4111-1111-1111-1111","x":[1]}`))
	want := `{"topic":"` + topic + `","key":"4","message":"{\"CARD\":\"****-****-****-1111\",\"x\":[1]}"}`
	if got := string(reader.Read(websocket.TextMessage)); got != want {
		t.Errorf("out came\n%s\nwant\n%s", got, want)
	}
}
