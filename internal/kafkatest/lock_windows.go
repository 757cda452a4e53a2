package kafkatest

import (
	"errors"
	"syscall"
	"time"
)

const errSharingViolation = syscall.Errno(32)

// lockFile waits until this process alone has the file open. The system closes
// it when the process ends, however it ends.
func lockFile(path string) (unlock func(), err error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	for {
		h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, 0, 0)
		if err == nil {
			return func() { _ = syscall.CloseHandle(h) }, nil
		}
		if !errors.Is(err, errSharingViolation) {
			return nil, err
		}
		// Windows has no call that waits for this.
		time.Sleep(50 * time.Millisecond)
	}
}
