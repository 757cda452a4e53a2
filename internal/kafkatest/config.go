package kafkatest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// kraftNode is what one node of a cluster without ZooKeeper is told of itself.
type kraftNode struct {
	id, port, controllerPort int
	dataDir, voters          string
}

// commonProperties are those that every release knows.
func commonProperties(port, nodes int) map[string]string {
	replicas := strconv.Itoa(min(nodes, 3))
	inSync := strconv.Itoa(max(1, min(nodes, 3)-1))
	return map[string]string{
		"advertised.listeners": fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", port),
		// A topic made by accident should be noticed.
		"auto.create.topics.enable": "false",
		// The first member of a group need not wait for others.
		"group.initial.rebalance.delay.ms":         "0",
		"offsets.topic.replication.factor":         replicas,
		"offsets.topic.num.partitions":             "1",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            inSync,
		"transaction.state.log.num.partitions":     "1",
		"default.replication.factor":               replicas,
		// Small pools and buffers: several brokers run beside the tests.
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
		"background.threads":             "2",
		"log.cleaner.dedupe.buffer.size": "4194304",
		"log.index.size.max.bytes":       "1048576",
		"log.segment.delete.delay.ms":    "1000",
	}
}

func kraftProperties(n kraftNode, nodes int) map[string]string {
	p := commonProperties(n.port, nodes)
	maps.Copy(p, map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(n.id),
		"controller.quorum.voters":       n.voters,
		"controller.listener.names":      "CONTROLLER",
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listeners":                      fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", n.port, n.controllerPort),
		"log.dirs":                       n.dataDir,
		// A killed broker may not come back before its session is over: 9 s by default.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
		// Leaders stay where a test puts them.
		"auto.leader.rebalance.enable": "false",

		"share.coordinator.state.topic.replication.factor": p["offsets.topic.replication.factor"],
		"share.coordinator.state.topic.min.isr":            p["transaction.state.log.min.isr"],
		"share.coordinator.state.topic.num.partitions":     "1",
	})
	return p
}

func zookeeperProperties(dataDir string, port, zkPort int) map[string]string {
	p := commonProperties(port, 1)
	maps.Copy(p, map[string]string{
		"broker.id":         "1",
		"listeners":         fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", port),
		"log.dirs":          dataDir,
		"zookeeper.connect": fmt.Sprintf("127.0.0.1:%d", zkPort),
		// A killed broker may not come back before its session is over.
		"zookeeper.session.timeout.ms":    "3000",
		"zookeeper.connection.timeout.ms": "30000",
	})
	return p
}

func zookeeperConfig(dir string, port int) map[string]string {
	return map[string]string{
		"dataDir":                filepath.Join(dir, "zookeeper"),
		"clientPortAddress":      "127.0.0.1",
		"clientPort":             strconv.Itoa(port),
		"tickTime":               "500",
		"maxClientCnxns":         "0",
		"admin.enableServer":     "false",
		"forceSync":              "no",
		"4lw.commands.whitelist": "dump",
	}
}

// propertiesFile writes properties as Java reads them.
func propertiesFile(p map[string]string) []byte {
	var b strings.Builder
	// Java takes a backslash, as in Windows paths, for the start of an escape.
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, escape.Replace(p[k]))
	}
	return []byte(b.String())
}

// newUUID makes an identifier in Kafka's notation.
func newUUID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[0] &= 0x7f    // a leading dash would look like an option
	return base64.RawURLEncoding.EncodeToString(id[:])
}
