package dedupe

import (
	"crypto/rand"
	"encoding/base64"
)

// secretBytes is how long a secret is before it is made text: 128 bits are
// beyond guessing.
const secretBytes = 16

// NewSecret returns a secret for a client that has no user: 128 random bits, as
// 22 characters of URL-safe base64 without padding. Making one takes no memory:
// a Memory knows a secret only once something was published with it.
func NewSecret() string {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ValidSecret reports whether a client's text is one that NewSecret could have
// returned, here or on another node. That it was returned cannot be told, and
// need not be: a client that makes up a secret has a series that others may
// guess, and no one else's.
func ValidSecret(text string) bool {
	var b [secretBytes]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return false
	}
	// Not base64's own CR and LF, and each secret in one form only.
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text))
	return err == nil && n == secretBytes
}
