package kafka

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// ProducerConfig says how records are written. The zero value of each field
// stands for its default.
type ProducerConfig struct {
	// Acks is who must have a record before it counts as written: "all"
	// in-sync replicas, the "leader" alone, or "none", which is not even told
	// whether it arrived. The default is "all", and only with it are records
	// never doubled.
	Acks string
	// Compression is "none", "gzip", "snappy", "lz4" or "zstd". The default is
	// "none".
	Compression string
	// CreateTopics lets a record make the topic that it names, with the
	// brokers' default partitions and replicas. The default is that the record
	// fails.
	CreateTopics bool
	// MaxMessageBytes is the size of the largest record that is tried, with its
	// key, its headers and some overhead. The default is 1 MiB. The brokers
	// have a limit of their own.
	MaxMessageBytes int
	// Timeout is how long a record's outcome is waited for. Then it is reported
	// as unknown if the record may have been written, else as
	// record.ErrUnavailable. The default is 30 s.
	Timeout time.Duration
}

var compressions = map[string]sarama.CompressionCodec{
	"": sarama.CompressionNone, "none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// Validate reports what is wrong with the configuration.
func (c ProducerConfig) Validate() error {
	switch c.Acks {
	case "", "all", "leader", "none":
	default:
		return fmt.Errorf("checking acks %q: it should be all, leader or none", c.Acks)
	}
	if _, ok := compressions[c.Compression]; !ok {
		return fmt.Errorf("checking compression %q: it should be none, gzip, snappy, lz4 or zstd", c.Compression)
	}
	if c.MaxMessageBytes < 0 || c.MaxMessageBytes > int(sarama.MaxRequestSize)/2 {
		return fmt.Errorf("checking the largest message %d: it should be from 1 to %d bytes", c.MaxMessageBytes, sarama.MaxRequestSize/2)
	}
	if c.Timeout < 0 {
		return fmt.Errorf("checking publish timeout %v: it should be positive", c.Timeout)
	}
	return nil
}

func (c ProducerConfig) withDefaults() ProducerConfig {
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = 1 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return c
}
