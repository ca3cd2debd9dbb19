// Package apikey makes, reads and checks API keys: `idps_<id>_<secret><checksum>`. The id finds the key's row, the
// secret has 256 random bits, and the checksum tells a mistyped key from an unknown one without asking the database.
// Only a hash is kept; a fast one will do, because nobody guesses 256 bits.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash/crc32"
	"log/slog"
	"math/big"
	"strings"
)

// Errors of Parse.
var (
	// ErrMalformed: the text does not have the form of a key of ours.
	ErrMalformed = errors.New("not an idpsync API key: one begins with idps_ and has 66 characters")
	// ErrMistyped: the text has the form of a key, and its checksum does not fit.
	ErrMistyped = errors.New("the API key is mistyped or cut off: its checksum does not fit")
)

const (
	prefix         = "idps_"
	idLength       = 11 // 64 random bits
	secretLength   = 43 // 256 random bits
	checksumLength = 6  // 32 bits
	alphabet       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Key is an API key with its secret. It prints as its id; Reveal alone returns the whole. The zero value is no key.
type Key struct{ text string }

// Generate makes a new key.
func Generate() Key {
	body := prefix + encode(randomBits(64), idLength) + "_" + encode(randomBits(256), secretLength)
	return Key{body + checksum(body)}
}

// Parse reads a key. It returns ErrMalformed or ErrMistyped for what is none.
func Parse(text string) (Key, error) {
	const idEnd = len(prefix) + idLength
	if len(text) != idEnd+1+secretLength+checksumLength || !strings.HasPrefix(text, prefix) || text[idEnd] != '_' {
		return Key{}, ErrMalformed
	}
	for _, part := range []string{text[len(prefix):idEnd], text[idEnd+1:]} {
		if strings.Trim(part, alphabet) != "" {
			return Key{}, ErrMalformed
		}
	}
	body := text[:len(text)-checksumLength]
	if checksum(body) != text[len(body):] {
		return Key{}, ErrMistyped
	}
	return Key{text}, nil
}

// Reveal returns the whole key, to be shown once.
func (k Key) Reveal() string { return k.text }

// ID returns the part that names the key; it is no secret.
func (k Key) ID() string {
	if k.text == "" {
		return ""
	}
	return k.text[len(prefix) : len(prefix)+idLength]
}

// Hash returns the SHA-256 of the whole key, which is what is stored.
func (k Key) Hash() []byte {
	sum := sha256.Sum256([]byte(k.text))
	return sum[:]
}

// Matches tells in constant time whether hash is the key's.
func (k Key) Matches(hash []byte) bool { return subtle.ConstantTimeCompare(k.Hash(), hash) == 1 }

// String returns the key without its secret.
func (k Key) String() string {
	if k.text == "" {
		return ""
	}
	return prefix + k.ID() + "_[redacted]"
}

// GoString returns what String returns.
func (k Key) GoString() string { return k.String() }

// LogValue returns what String returns.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText returns what String returns.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func checksum(body string) string {
	return encode(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), checksumLength)
}

// randomBits returns a random number of n bits, n a multiple of 8.
func randomBits(n int) *big.Int {
	b := make([]byte, n/8)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return new(big.Int).SetBytes(b)
}

// encode writes i in base 62 with n digits.
func encode(i *big.Int, n int) string {
	out := make([]byte, n)
	i = new(big.Int).Set(i)
	digit, base := new(big.Int), big.NewInt(int64(len(alphabet)))
	for k := n - 1; k >= 0; k-- {
		i.DivMod(i, base, digit)
		out[k] = alphabet[digit.Int64()]
	}
	return string(out)
}
