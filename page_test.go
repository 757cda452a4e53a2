package kafkaws_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

// TestPageThatMissesNothing has a browser run the page of the README that goes on
// where it was, and breaks its connections.
func TestPageThatMissesNothing(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script string
	for block := range strings.SplitSeq(string(readme), "```html\n") {
		if block, _, _ = strings.Cut(block, "```"); strings.Contains(block, "where the page is") {
			script = block
		}
	}
	kafka := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 2, nil)
	script = strings.NewReplacer("wss://", "ws://", "topics=orders", "topics="+topic).Replace(script)
	if !strings.Contains(script, topic) {
		t.Fatal("the README has no such page")
	}
	dir := t.TempDir()
	page := "<script>const seen = []; function show(record) { seen.push(record.value); }</script>\n" + script
	if err := os.WriteFile(filepath.Join(dir, "page.html"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	startCaddy(t, global+"http://"+addr+" {\n\tkafka_websocket /kafka {\n\t\tbrokers "+kafka.Addr()+"\n\t\tsubscribe *\n\t}\n\troot "+dir+"\n\tfile_server\n}\n")
	proxy := tcpproxy.Start(t, addr)
	p := startBrowser(t).open("http://" + proxy.Addr() + "/page.html")
	p.until("at[%s]", topic)
	n := 0
	write := func(records int) {
		for range records {
			kafka.ProduceTo(t, topic, int32(n%2), &kgo.Record{Value: []byte(strconv.Itoa(n))})
			n++
		}
	}
	for range 4 {
		write(10)
		p.until("seen.length === %s", n)
		proxy.Refuse(true)
		proxy.Cut()
		write(10)
		proxy.Refuse(false)
	}
	p.until("seen.length === %s", n)
	var seen []string
	p.eval(&seen, "seen")
	next := []int{0, 1}
	for _, value := range seen {
		i, err := strconv.Atoi(value)
		if err != nil || i != next[i%2] {
			t.Fatalf("the page saw %v", seen)
		}
		next[i%2] += 2
	}
}
