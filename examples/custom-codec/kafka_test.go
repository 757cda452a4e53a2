package customcodec_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/exampletest"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// received is a record as a client of kafka-cbor reads it.
type received struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64
	Key       []byte
	Value     []byte
	Headers   [][]any
}

// module is this example.
const module = "github.com/kafkaws/kafkaws/examples/custom-codec"

// TestKafka has a Caddy with the codec work on a real Kafka.
func TestKafka(t *testing.T) {
	kafka, topic := kafkatest.Start(t), kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 1, nil)
	s := exampletest.StartCaddy(t, module, "{$KAFKA_BROKERS:localhost:9092}", kafka.Addr(), "subscribe measurements", "subscribe "+topic, "publish measurements", "publish "+topic)

	c, text := s.Dial("", "topics="+topic, "kafka-cbor"), s.Dial("", "topics="+topic, "kafka-text")
	for i, m := range []struct {
		message map[string]any
		key     []byte
		value   []byte
		headers [][]any
		text    string
	}{
		{map[string]any{"key": "k", "value": "21.5 °C"}, []byte("k"), []byte("21.5 °C"), nil, `"key":"k","message":"21.5 °C"`},
		{map[string]any{"value": []byte{}}, nil, []byte{}, nil, `"message":""`},
		{
			map[string]any{"value": []byte{0, 0xff}, "headers": [][]any{{"unit", []byte("K")}, {"unit", nil}}},
			nil,
			[]byte{0, 0xff},
			[][]any{{"unit", []byte("K")}, {"unit", nil}},
			`"message":"\u0000` + "\uFFFD" + `"`,
		},
		{map[string]any{"key": []byte{1}, "value": nil}, []byte{1}, nil, nil, `"key":"\u0001","message":null`},
	} {
		m.message["topic"] = topic
		message, err := cbor.Marshal(m.message)
		if err != nil {
			t.Fatal(err)
		}
		c.Send(websocket.BinaryMessage, nil) // ignored
		c.Send(websocket.BinaryMessage, message)

		var got received
		if err := cbor.Unmarshal(c.Read(websocket.BinaryMessage), &got); err != nil {
			t.Fatal(err)
		}
		records := kafka.ReadAll(t, topic)
		if len(records) != i+1 {
			t.Fatalf("Kafka has %d records, want %d", len(records), i+1)
		}
		in := records[i]
		if !bytes.Equal(in.Key, m.key) || !bytes.Equal(in.Value, m.value) || (in.Key == nil) != (m.key == nil) ||
			(in.Value == nil) != (m.value == nil) || len(in.Headers) != len(m.headers) {
			t.Errorf("%d: Kafka has %v", i, in)
		}
		want := received{Topic: topic, Offset: int64(i), Timestamp: in.Timestamp.UnixMilli(), Key: m.key, Value: m.value, Headers: m.headers}
		if got, want := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want); got != want {
			t.Errorf("%d: out came\n%s\nwant\n%s", i, got, want)
		}
		if got, want := string(text.Read(websocket.TextMessage)), `{"topic":"`+topic+`",`+m.text+`}`; got != want {
			t.Errorf("%d: out came\n%s\nwant\n%s", i, got, want)
		}
	}

	for _, bad := range []struct {
		kind    int
		message string
		reason  string
	}{
		{websocket.TextMessage, `{"topic":"t"}`, "kafka-cbor takes binary messages only"},
		{websocket.BinaryMessage, "\xa1", "the message is not well-formed CBOR, or nested too deeply"},
	} {
		c := s.Dial("", "", "kafka-cbor")
		c.Send(bad.kind, []byte(bad.message))
		_, _, err := c.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.CloseInvalidFramePayloadData || closed.Text != bad.reason {
			t.Errorf("%q: got %v", bad.message, err)
		}
	}
}
