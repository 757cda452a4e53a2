package kafkatest

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(M(m).Run()) }
