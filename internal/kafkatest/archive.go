package kafkatest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// archiveClasses runs a broker through what tests do and has Java write down
// the classes it loaded. Whatever goes wrong leaves an empty file: the archive
// is a matter of speed only.
func (i *installed) archiveClasses(path string) error {
	if err := i.dumpClasses(path); err != nil || !exists(path) {
		return os.WriteFile(path, nil, 0o644)
	}
	return nil
}

func (i *installed) dumpClasses(path string) error {
	b := newBroker(i, filepath.Join(filepath.Dir(path), "broker"), newSettings(nil))
	b.flags = []string{"-XX:ArchiveClassesAtExit=" + path}
	defer b.release()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.createTopic(ctx, "warm", 1, nil); err != nil {
		return err
	}
	r := &kgo.Record{Key: []byte("k"), Value: []byte(strings.Repeat("v", 100))}
	if _, err := b.produce(ctx, "warm", r); err != nil {
		return err
	}
	if _, err := b.readAll(ctx, "warm"); err != nil {
		return err
	}
	// The archive is written while Java exits, which takes some seconds.
	return b.kafka.stop(30 * time.Second)
}
