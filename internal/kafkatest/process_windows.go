package kafkatest

import (
	"errors"
	"os"
)

// terminate kills: Windows has no way to ask a process of another console to end.
func terminate(p *os.Process) error { return p.Kill() }

func pause(*os.Process) error { return errors.ErrUnsupported }

func resume(*os.Process) error { return errors.ErrUnsupported }
