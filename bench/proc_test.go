package main

import (
	"os"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

func TestProcessIsMeasured(t *testing.T) {
	before, err := cpu(os.Getpid())
	if err != nil {
		kafkatest.Lack(t, "no CPU clock to read: %v", err)
	}
	sum, deadline := 0, time.Now().Add(5*time.Second)
	for used := before; used < before+5*time.Millisecond; {
		for i := range 10_000 {
			sum += i
		}
		if used, err = cpu(os.Getpid()); err != nil || time.Now().After(deadline) {
			t.Fatalf("the CPU time of a busy process went from %v to %v: %v (%d)", before, used, err, sum)
		}
	}

	const size = 64 << 20
	empty, err := rss(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	full, err := rss(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := full - empty; grown < size*9/10 || grown > 2*size {
		t.Errorf("%d bytes more are resident, want %d", grown, size)
	}
	if b[0] != 1 {
		t.Error("unreachable")
	}
}
