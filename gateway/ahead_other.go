//go:build !unix

package gateway

import "syscall"

const aheadSize = 16 << 10

// ahead is for systems whose sockets can be asked to read without waiting.
type ahead struct{ rest []byte }

func newAhead() *ahead { return new(ahead) }

func (*ahead) fill(syscall.RawConn) bool { return false }
