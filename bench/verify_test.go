package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestWhatWasPublishedIsChecked(t *testing.T) {
	written := func(publisher, number int, partition int32) *kgo.Record {
		return &kgo.Record{
			Key: []byte(publishedKey(publisher, int64(number))), Value: newValue(minValue, publisher, number, 0), Partition: partition,
		}
	}
	wrongKey := written(0, 0, 0)
	wrongKey.Key = []byte("0-1")
	for _, test := range []struct {
		name    string
		records []*kgo.Record
		want    verdict
		err     string
	}{
		{name: "nothing", records: []*kgo.Record{written(0, 0, 0), written(1, 0, 1), written(0, 1, 1), written(1, 1, 1)}},
		{name: "lost", records: []*kgo.Record{written(0, 0, 0), written(1, 0, 1), written(1, 1, 1)}, want: verdict{Lost: 1}},
		{
			name:    "twice",
			records: []*kgo.Record{written(0, 0, 0), written(0, 0, 0), written(1, 0, 1), written(0, 1, 1), written(1, 1, 1)},
			want:    verdict{Repeated: 1},
		},
		{
			name:    "order",
			records: []*kgo.Record{written(0, 1, 0), written(0, 0, 0), written(1, 0, 1), written(1, 1, 1)},
			want:    verdict{Repeated: 1},
		},
		{name: "more", records: []*kgo.Record{written(0, 2, 0)}, err: "was never published"},
		{name: "key", records: []*kgo.Record{wrongKey}, err: `has the key "0-1", not "0-0"`},
		{name: "partition", records: []*kgo.Record{written(0, 0, 0), written(0, 0, 1)}, err: "in the partitions 0 and 1"},
		{name: "value", records: []*kgo.Record{{Value: []byte("hello")}}, err: "no value of ours"},
	} {
		l := newPublishedLog([]*publisher{{number: 0, published: 2}, {number: 1, published: 2}})
		var err error
		for _, r := range test.records {
			if err == nil {
				err = l.take(r)
			}
		}
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: got %v, want %s", test.name, err, test.err)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		default:
			if got := l.verdict(); got != test.want {
				t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
			}
		}
	}
}
