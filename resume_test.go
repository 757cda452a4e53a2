package kafkaws_test

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

// TestResumeByPositions has a client whose connection is reset again and again,
// and whose node is replaced by others, while records are written. It keeps
// nothing but offsets, and ends with every record once, in order per partition.
func TestResumeByPositions(t *testing.T) {
	const partitions, records, cuts, moves = 8, 40_000, 80, 3
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	const directives = open + "consumer {\nbuffer 256KiB\nbuffer_total 4MiB\n}"
	s := startSite(t, broker.Addr(), directives)
	proxy := tcpproxy.Start(t, s.addr)

	writer := kafkaClient(t, broker.Addr())
	padding := strings.Repeat("x", 200)
	var writing sync.WaitGroup
	writing.Go(func() {
		var next [partitions]int
		for n := 0; n < records; {
			var batch []*kgo.Record
			for range 200 {
				p := n % partitions
				// The number in its partition is the offset.
				batch = append(batch, &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte(numbered(fmt.Sprint(p), next[p], padding))})
				next[p]++
				n++
			}
			produce(t, writer, batch...)
		}
	})
	defer writing.Wait()

	heard, resumed, total := streams{}, 0, 0
	deadline := time.Now().Add(3 * patience)
	for total < records {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records in time", total, records)
		}
		var at []string
		for p := range partitions {
			at = append(at, fmt.Sprintf(`"%d":%d`, p, heard[fmt.Sprint(p)]))
		}
		from := fmt.Sprintf(`{%q:{"offsets":{%s}}}`, topic, strings.Join(at, ","))
		here := *s
		here.addr = proxy.Addr()
		c, _, err := here.tryDial("topics="+topic+"&from="+url.QueryEscape(from), nil)
		if err != nil {
			continue // the node is just being replaced
		}
		resumed++
		until := total + records/cuts
		for total < records {
			_, message, err := c.ReadMessage()
			if err != nil {
				break
			}
			_, value, _ := bytes.Cut(message, []byte(`"message":"`))
			if err := heard.take(value); err != nil {
				t.Fatalf("connection %d: %v", resumed, err)
			}
			if total++; total == until {
				// What is on its way is lost or comes, as it happens.
				proxy.Cut()
			}
		}
		_ = c.Close()
		if resumed%(cuts/(moves+1)) == 0 {
			other := startSite(t, broker.Addr(), directives)
			proxy.SetTarget(other.addr)
			_ = s.cmd.Process.Kill()
			<-s.exited
			s = other
		}
	}
	if resumed < cuts/2 {
		t.Errorf("%d connections: the test tests little", resumed)
	}
	t.Logf("%d records over %d connections", total, resumed)
}
