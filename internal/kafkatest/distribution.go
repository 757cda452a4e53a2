package kafkatest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
)

// distribution is one release of Kafka, described by a Maven project that
// names its jars.
type distribution struct {
	pom       []byte
	version   string
	zookeeper bool
}

//go:embed poms/kafka.xml
var pomNew []byte

//go:embed poms/kafka-old.xml
var pomOld []byte

var (
	current = newDistribution(pomNew, false)
	oldest  = newDistribution(pomOld, true)
)

// Version is the release of Apache Kafka that [Start] runs.
func Version() string { return current.version }

// OldVersion is the release of Apache Kafka that [StartOld] runs, the oldest
// that is supported.
func OldVersion() string { return oldest.version }

func newDistribution(pom []byte, zookeeper bool) *distribution {
	var p struct {
		Version string `xml:"properties>kafka.version"`
	}
	if err := xml.Unmarshal(pom, &p); err != nil || p.Version == "" {
		panic(fmt.Sprintf("kafkatest: an embedded pom names no kafka.version: %v", err))
	}
	return &distribution{pom: pom, version: p.Version, zookeeper: zookeeper}
}

// home is the directory that this release is installed in. It is named after
// the pom's content as well as the version, so that a changed dependency is
// never mixed with the jars of before.
func (d *distribution) home() (string, error) {
	base := os.Getenv("KAFKAWS_KAFKA_DIR")
	if base == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding the user's cache directory (set KAFKAWS_KAFKA_DIR to use another): %w", err)
		}
		base = filepath.Join(cache, "kafkaws")
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", fmt.Errorf("resolving KAFKAWS_KAFKA_DIR: %w", err)
	}
	sum := sha256.Sum256(d.pom)
	return filepath.Join(base, "kafka-"+d.version+"-"+hex.EncodeToString(sum[:4])), nil
}
